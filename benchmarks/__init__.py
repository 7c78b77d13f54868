"""What Cheddar is worth in seconds, measured: run each module with C{--help}."""
