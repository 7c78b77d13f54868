"""Identity tokens (OpenID Connect): whether a trusted issuer has really signed one, for this server and for now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
from attrs import define
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.auth.issuer_keys import IssuerKeys
from cheddar.errors import UntrustedPublisher

#: Both with public keys: a secret that is shared with the issuer would let whoever verifies sign.
ALGORITHMS = ("RS256", "ES256")
MAX_LENGTH = 16 * 1024
#: Seconds by which clocks may differ.
LEEWAY = 30
#: Seconds that a token may be valid: what lives longer is no identity of the moment.
LONGEST = 24 * 3600
_CLAIMS = ("iss", "iat", "exp", "aud")


@define(eq=False)
class IdentityTokens:
    """
    @ivar audience: what tokens for this server say in their C{aud}.
    @ivar _issuers: the keys of those that are trusted, by the C{iss} of their tokens.
    """

    audience: str
    _issuers: Mapping[str, IssuerKeys]
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _pool: ThreadPool

    async def verified(self, text: str) -> Mapping[str, Any]:
        """
        The claims of a token, once its signature, its audience and its time are right.

        @raise UntrustedPublisher: they are not. [Unavailable: nobody can tell now]
        """
        if len(text) > MAX_LENGTH or not text.isascii():
            raise _malformed("it is too long, or no ASCII")
        try:
            header = jwt.get_unverified_header(text)
            # Believed for nothing but the choice of the keys.
            issuer = jwt.decode(text, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _malformed(str(error)) from None
        keys = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise UntrustedPublisher("invalid-issuer", f"Nobody here publishes by tokens of the issuer {issuer!r}.")
        if header.get("alg") not in ALGORITHMS:
            raise _malformed(f"it is not signed with {' or '.join(ALGORITHMS)}")
        key_id = header.get("kid", "")
        key = await keys.key(key_id) if isinstance(key_id, str) else None
        if key is None or key.algorithm_name != header["alg"]:
            raise _malformed("it is signed with a key that its issuer does not have")
        claims: Mapping[str, Any] = await deferToThreadPool(
            self._reactor, self._pool, _decode, text, key, self.audience, self._clock.seconds()
        )
        return claims


def _decode(text: str, key: Any, audience: str, now: float) -> Mapping[str, Any]:
    """In a thread."""
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key.key,
            algorithms=[key.algorithm_name],
            # Times are judged below, by the clock that was given.
            options={
                "require": list(_CLAIMS), "verify_aud": False, "verify_exp": False, "verify_iat": False,
                "verify_nbf": False,
            },
        )  # fmt: skip
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _malformed(str(error)) from None
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if audiences != [audience]:
        raise UntrustedPublisher(
            "invalid-audience", f"The token is not for this server alone: its audience must be {audience}."
        )
    issued, expires, not_before = (claims.get(name, now) for name in ("iat", "exp", "nbf"))
    if any(isinstance(at, bool) or not isinstance(at, int | float) for at in (issued, expires, not_before)):
        raise _malformed("a time in it is no number")
    if not (max(issued, not_before) - LEEWAY <= now < expires + LEEWAY and expires - issued <= LONGEST):
        raise UntrustedPublisher("expired-token", "The token is not valid now: it has expired, or begins later.")
    return claims


def _malformed(why: str) -> UntrustedPublisher:
    return UntrustedPublisher("invalid-token", f"This is no token that can be verified: {why}.")
