"""The public keys by which an issuer's identity tokens are verified (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import CheddarError, Unavailable, UpstreamBroken

#: Bytes of a set of keys, and of an issuer's configuration.
MAX_SIZE = 256 * 1024
#: Seconds after which keys are fetched again, and between two fetches for a key that nobody knows.
GOOD_FOR = 3600.0
PAUSE = 60.0
#: Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4).
DISCOVERY = "/.well-known/openid-configuration"

Keys = Mapping[str, Any]
Fetch = Callable[[str, int], Deferred[bytes]]


@define(eq=False)
class IssuerKeys:
    """
    One issuer's keys: fetched when a token wants one, and kept while the issuer does not answer.

    @ivar _issuer: as its tokens name it.
    @ivar _file: where the keys are, if they are not fetched.
    @ivar _url: where they are fetched; empty: where the issuer's configuration says.
    @ivar _fetch: a small body at an address.
    """

    _issuer: str
    _file: Path | None
    _url: str
    _fetch: Fetch
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _pool: ThreadPool
    _keys: Keys | None = field(default=None, init=False)
    _fetched_at: float = field(default=0.0, init=False)
    _tried_at: float | None = field(default=None, init=False)
    _fetching: SingleFlight[None] = field(factory=SingleFlight, init=False)

    _log = Logger()

    @returns_deferred
    async def key(self, key_id: str) -> Any | None:
        """
        The key, as PyJWT has it; None where the issuer has none of this name.

        @raise Unavailable: the keys cannot be had now.
        """
        known = self._keys is not None and key_id in self._keys
        if not (known and self._passed(self._fetched_at, GOOD_FOR)) and not self._paused():
            try:
                await self._fetching.run("keys", self._load)
            except CheddarError as error:
                # Better keys of yesterday than no publishing while the issuer is down.
                self._log.warn("The keys of {issuer} cannot be had: {error}", issuer=self._issuer, error=str(error))
        if self._keys is None:
            raise Unavailable(
                f"The keys of {self._issuer} cannot be had now, so that its tokens cannot be verified. Try again.",
                round(PAUSE),
            )
        return self._keys.get(key_id)

    def _passed(self, since: float, seconds: float) -> bool:
        return 0 <= self._clock.seconds() - since < seconds

    def _paused(self) -> bool:
        return self._tried_at is not None and self._passed(self._tried_at, PAUSE)

    @returns_deferred
    async def _load(self) -> None:
        try:
            body = await self._read()
            self._keys = await deferToThreadPool(self._reactor, self._pool, _parse, body, self._issuer)
            self._fetched_at = self._clock.seconds()
        finally:
            self._tried_at = self._clock.seconds()

    async def _read(self) -> bytes:
        if self._file is not None:
            try:
                return await deferToThreadPool(self._reactor, self._pool, self._file.read_bytes)
            except OSError as error:
                raise Unavailable(f"{self._file} cannot be read: {error.strerror}.") from error
        return await self._fetch(self._url or await self._discovered(), MAX_SIZE)

    async def _discovered(self) -> str:
        body = await self._fetch(self._issuer.rstrip("/") + DISCOVERY, MAX_SIZE)
        try:
            said = json.loads(body)
            issuer, url = said["issuer"], said["jwks_uri"]
            same_host = urlsplit(url).netloc == urlsplit(self._issuer).netloc
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UpstreamBroken(f"The configuration of {self._issuer} cannot be read.") from None
        if issuer != self._issuer or not same_host:
            raise UpstreamBroken(
                f"The configuration of {self._issuer} is another issuer's, or its keys are on another host: set "
                "jwks_url in its [[publisher]] table."
            )
        return str(url)


def _parse(body: bytes, issuer: str) -> Keys:
    """In a thread: the keys that can verify, by their names."""
    try:
        keys = jwt.PyJWKSet.from_dict(json.loads(body)).keys
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
        raise UpstreamBroken(f"What {issuer} has for keys is not a set of keys (RFC 7517).") from None
    return {key.key_id or "": key for key in keys if key.public_key_use in (None, "sig")}
