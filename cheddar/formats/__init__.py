"""Pure translation between bytes and L{cheddar.model} values."""
