"""What a request does."""

from __future__ import annotations

import enum


class Action(enum.Enum):
    """What a request does; every route states one."""

    READ = "read"
    UPLOAD = "upload"
    YANK = "yank"
    DELETE = "delete"
    #: The first upload of a project.
    CREATE = "create"
    #: What changes the server for everybody.
    ADMIN = "admin"
    #: Showing who one is, by what is sent: it takes no login, and gives one.
    IDENTIFY = "identify"
    #: The state of the server itself: health and metrics, open to whoever reaches the port.
    OBSERVE = "observe"
