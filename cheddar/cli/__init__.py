"""The C{cheddar} command: users, tokens, projects, the cache and warming it, rebuild, settings."""
