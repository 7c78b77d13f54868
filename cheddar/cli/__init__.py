"""The C{cheddar} command: users, tokens, projects, rebuild, settings."""
