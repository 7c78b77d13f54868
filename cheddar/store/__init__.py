"""The metadata stores: SQLite, embedded, and Redis, shared."""
