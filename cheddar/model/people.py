"""Who asks, for what, and what is noted of it."""

from __future__ import annotations

import enum
from datetime import datetime

from attrs import field, frozen


class Action(enum.Enum):
    """What a request does; every route states one."""

    READ = "read"
    UPLOAD = "upload"
    YANK = "yank"
    DELETE = "delete"
    #: The state of the server itself: health and metrics, open to whoever reaches the port.
    OBSERVE = "observe"


@frozen
class User:
    """
    @ivar name: the user's name.
    @ivar password: what the store holds: an argon2 hash, or plain text set by hand.
    """

    name: str
    password: str = field(repr=False)


@frozen
class Credentials:
    """A name and a password as the client sent them."""

    username: str
    password: str = field(repr=False)


@frozen
class Identity:
    """
    Who is asking.

    @ivar name: the user's name; empty for somebody who did not log in.
    """

    name: str = ""

    @property
    def anonymous(self) -> bool:
        """Whether nobody logged in."""
        return not self.name


ANONYMOUS = Identity()


@frozen(kw_only=True)
class Event:
    """
    Something that an audit should find again.

    @ivar action: what happened, in one word or two with a dot, such as C{upstream.removed}.
    @ivar at: when.
    @ivar project: the normalized name of the project.
    @ivar filename: which file, or empty for all of the project.
    @ivar digest: the file's SHA-256, or what else is known, or empty.
    @ivar who: the user, or the upstream, that did it.
    @ivar detail: what else there is to know, for people.
    """

    action: str
    at: datetime
    project: str
    filename: str = ""
    digest: str = ""
    who: str = ""
    detail: str = ""
