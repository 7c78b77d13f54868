"""
What can go wrong, in the words of the domain. C{cheddar.web.errors} alone knows which HTTP status each becomes.

The message of an error is for its reader: it says what is wrong and what to do about it.
"""

from __future__ import annotations


class CheddarError(Exception):
    """Base of all errors that Cheddar raises on purpose. C{str(error)} is a sentence fit to show to a client."""


class NotFound(CheddarError):
    """What was asked for is not here."""


class Gone(CheddarError):
    """What was asked for was withdrawn for good."""


class AlreadyExists(CheddarError):
    """The name is taken."""


class Founded(AlreadyExists):
    """Somebody else has made the project meanwhile."""


class Reserved(CheddarError):
    """The name is kept for others."""


class Invalid(CheddarError):
    """What was sent is wrong; the message says what, and how to put it right."""


class DigestMismatch(Invalid):
    """Bytes do not have the digest or the length that was promised for them."""


class TooLarge(CheddarError):
    """What was sent is over a limit."""


class BadCredentials(CheddarError):
    """A login is needed, or the one given is wrong."""


class NoCredentials(BadCredentials):
    """A login is needed, and none was given, or none that can be read: there was nothing to look at."""


class Forbidden(CheddarError):
    """The caller is known and may not do this."""


class TooOften(CheddarError):
    """
    The caller has to wait before it may do this again.

    @ivar retry_after: seconds after which it may.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoRoom(CheddarError):
    """
    The disk is full, or storage cannot be written.

    @ivar at_all: whether not even an empty file could be made, so that it is known before there are bytes for it.
    """

    def __init__(self, message: str, at_all: bool = False) -> None:
        super().__init__(message)
        self.at_all = at_all


class Unavailable(CheddarError):
    """
    Something Cheddar depends on does not answer now.

    @ivar retry_after: seconds after which it is worth asking again; 0: nobody knows. Clients wait for as long as they
        are told to, before they tell their user anything.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The metadata store does not answer."""


class UpstreamUnavailable(Unavailable):
    """Upstream is down, refuses or is slow."""


class UpstreamBroken(Unavailable):
    """Upstream answered, and wrongly: unreadable page, wrong bytes."""


class AddressRefused(UpstreamBroken):
    """Upstream named an address that Cheddar does not ask."""


class FileTooLarge(UpstreamBroken):
    """Upstream's file is larger than what Cheddar fetches."""


class WrongBytes(UpstreamBroken):
    """
    Upstream sent other bytes of a file than its listing promises.

    @ivar detail: which digest came in place of which.
    """

    def __init__(self, filename: str, algorithm: str, digest: str, right: str) -> None:
        self.detail = f"its {algorithm} is {digest}, not {right}"
        super().__init__(f"Upstream sent wrong bytes for {filename}: {self.detail}. Try again.")


class SettingsError(CheddarError):
    """A setting is unknown or has a wrong value; the message is one line that names the file and the key."""


class UntrustedPublisher(CheddarError):
    """
    An identity token that opens nothing here.

    @ivar code: which of the reasons it is, as the public index's clients know them: C{invalid-publisher}.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
