"""A login for upstream: taken out of its address, and shown to that one origin alone."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import field, frozen

from cheddar.upstream.addresses import Origin, Target


@frozen
class OriginCredentials:
    """
    Credentials that belong to one origin.

    @ivar origin: who may see them.
    """

    origin: Origin
    _authorization: bytes | None = field(repr=False)

    def authorization(self, target: Target) -> bytes | None:
        """The value of an C{Authorization} header for C{target}; None where it must not have one."""
        return self._authorization if target.origin == self.origin else None


def split_credentials(url: str) -> tuple[str, OriginCredentials]:
    """
    Take the userinfo out of an address.

    @return: the address without it, and the credentials (none for an address without userinfo).
    @raise UpstreamBroken: this is no address that can be asked.
    """
    parts = urlsplit(url)
    userinfo, at, location = parts.netloc.rpartition("@")
    bare = urlunsplit(parts._replace(netloc=location))
    authorization = None
    if at:
        user, _, password = userinfo.partition(":")
        authorization = b"Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode())
    return bare, OriginCredentials(Target.parse(bare).origin, authorization)
