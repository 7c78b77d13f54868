"""The C{cheddar} command: users, projects, rebuild, settings."""
