"""A login for upstream: from its address or where the settings say, and shown to that one origin alone."""

from __future__ import annotations

import netrc
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import field, frozen

from cheddar.errors import SettingsError
from cheddar.settings.upstreams import UpstreamSettings
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
        authorization = _basic(unquote(user), unquote(password))
    return bare, OriginCredentials(Target.parse(bare).origin, authorization)


def find_credentials(upstream: UpstreamSettings, environ: Mapping[str, str]) -> tuple[str, OriginCredentials]:
    """
    Blocks. The login that an upstream's settings name.

    @return: its address without a login, and the credentials.
    @raise SettingsError: they are not where the settings say. [UpstreamBroken: the address is none]
    """
    bare, credentials = split_credentials(upstream.url)
    if upstream.netrc:
        credentials = OriginCredentials(credentials.origin, _from_netrc(upstream, credentials.origin, environ))
    elif upstream.username:
        password = _password(upstream, environ)
        credentials = OriginCredentials(credentials.origin, _basic(upstream.username, password))
    return bare, credentials


def _basic(user: str, password: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def _password(upstream: UpstreamSettings, environ: Mapping[str, str]) -> str:
    if upstream.password_file is None:
        if not environ.get(upstream.password_env):
            raise SettingsError(f"Upstream {upstream.name}: the environment has no {upstream.password_env}.")
        return environ[upstream.password_env]
    try:
        lines = upstream.password_file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"Upstream {upstream.name}: {upstream.password_file} cannot be read: {reason}.") from error
    if not lines or not lines[0]:
        raise SettingsError(f"Upstream {upstream.name}: the first line of {upstream.password_file} is empty.")
    return lines[0]


def _from_netrc(upstream: UpstreamSettings, origin: Origin, environ: Mapping[str, str]) -> bytes:
    path = Path(environ["NETRC"]) if environ.get("NETRC") else Path(environ.get("HOME", "~")).expanduser() / ".netrc"
    try:
        found = netrc.netrc(str(path)).authenticators(origin.host)
    except OSError as error:
        raise SettingsError(f"Upstream {upstream.name}: {path} cannot be read: {error.strerror}.") from error
    except netrc.NetrcParseError as error:
        # Its message may hold a part of the file; where it is wrong is enough.
        raise SettingsError(f"Upstream {upstream.name}: {path} is wrong in line {error.lineno}.") from None
    if found is None:
        raise SettingsError(f"Upstream {upstream.name}: {path} has no login for {origin.host}.")
    return _basic(found[0], found[2] or "")
