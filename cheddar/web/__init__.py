"""HTTP: the one room that knows requests, status codes and pages for people."""
