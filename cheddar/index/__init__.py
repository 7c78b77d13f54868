"""The indexes: local, remote and combined, and what they need to follow upstream."""
