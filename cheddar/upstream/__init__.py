"""The other server behind a remote index: the one room that makes outgoing requests."""
