"""The shared metadata store, on Redis."""
