"""The process that starts others, which serve: it opens their sockets, watches over them, and serves nothing itself."""

from cheddar.supervisor.crew import Supervisor

__all__ = ["Supervisor"]
