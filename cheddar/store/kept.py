"""How much the stores keep of what only grows."""

#: Events of the audit log, unless said.
EVENTS_KEPT = 100_000
