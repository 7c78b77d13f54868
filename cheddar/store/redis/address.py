"""Where Redis is: the address as it is set, read once."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from attrs import field, frozen

from cheddar.errors import SettingsError

DEFAULT_PORT = 6379
_FORMS = "redis://[user[:password]@]host[:port][/db], the same with rediss:// for TLS, or unix:///path/to/socket"


@frozen
class Address:
    """
    @ivar host: empty for a Unix socket.
    @ivar path: of the Unix socket, else empty.
    @ivar database: its number, or None: the one a new connection has.
    """

    tls: bool
    host: str
    port: int
    path: str
    database: int | None
    username: str | None
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        database = "" if self.database is None else f"/{self.database}"
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}{database}"


def parse_address(url: str) -> Address:
    """@raise SettingsError: not one of the forms; the message shows no password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong("its host or port cannot be read") from error
    if parts.query or parts.fragment:
        raise _wrong("it has a query or a fragment (write ? and # in a password as %3F and %23)")
    if parts.username and parts.password is None:
        raise _wrong("it has a user and no password (a password alone is written :password@host)")
    if parts.scheme == "unix":
        return _socket(parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong("it does not begin with redis://, rediss:// or unix://")
    if not parts.hostname:
        raise _wrong("it names no host")
    return Address(
        tls=parts.scheme == "rediss",
        host=parts.hostname,
        port=DEFAULT_PORT if port is None else port,
        path="",
        database=_database(parts.path),
        username=unquote(parts.username) if parts.username else None,
        password=None if parts.password is None else unquote(parts.password),
    )


def _socket(parts: SplitResult) -> Address:
    if parts.hostname or not parts.path.strip("/"):
        raise _wrong("a socket's path follows three slashes")
    return Address(
        tls=False,
        host="",
        port=0,
        path=unquote(parts.path),
        database=None,
        username=unquote(parts.username) if parts.username else None,
        password=None if parts.password is None else unquote(parts.password),
    )


def _database(path: str) -> int | None:
    number = path.strip("/")
    if not number:
        return None
    if not (number.isascii() and number.isdigit()):
        raise _wrong("what follows the host is not the number of a database")
    return int(number)


def _wrong(why: str) -> SettingsError:
    return SettingsError(f"REDIS_URL cannot be used: {why}. It is {_FORMS}.")
