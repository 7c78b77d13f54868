"""API tokens: how they are made, and who comes with one."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import SingleFlight, returns_deferred
from cheddar.errors import BadCredentials
from cheddar.formats.tokens import ALPHABET, ID_LENGTH, SECRET_LENGTH, format_token, parse_token
from cheddar.interfaces import IAuthenticator, ITokenStore
from cheddar.model import TOKEN_USE_STEP, TOKEN_USER, Credentials, Identity, Scope, Token

T = TypeVar("T")

#: The same for all that is wrong with a token: who tries them out learns nothing.
REFUSED = (
    "This API token is not valid: it is not complete, or has expired, or was revoked. Make another with `cheddar token "
    "create`, and give it as the password of the user __token__."
)

_NO_DIGEST = "0" * 64


def new_token(owner: str, scope: Scope, label: str, now: datetime, lifetime: timedelta) -> tuple[Token, str]:
    """
    A token that is in no store yet.

    @param owner: a user, or a trusted publisher (see L{Token}).
    @return: what to keep, and the text to hand over, which cannot be had again.
    @raise ValueError: the scope is too wide for a publisher's token.
    """
    token_id, secret = _random(ID_LENGTH), _random(SECRET_LENGTH)
    token = Token(
        id=token_id,
        owner=owner,
        digest=_digest(secret),
        scope=scope,
        created=now,
        expires=now + lifetime,
        label=label,
    )
    return token, format_token(token_id, secret)


@implementer(IAuthenticator)
@define(eq=False)
class TokenAuthenticator:
    """
    Knows who comes with a token, and asks another about all who come without.

    The store is asked each time, as it is for passwords: a token that was revoked, on whichever node, opens nothing any
    more. Requests that come together share one look-up. What is not a token by its checksum costs none.

    @ivar _clock: of the wall: by it tokens expire.
    @ivar _others: knows who has a name and a password.
    """

    _tokens: ITokenStore
    _clock: IReactorTime
    _others: IAuthenticator
    _reading: SingleFlight[Token | None] = field(factory=SingleFlight, init=False)
    _noting: set[str] = field(factory=set, init=False)

    _log = Logger()

    @returns_deferred
    async def identify(self, credentials: Credentials | None) -> Identity:
        """See L{IAuthenticator.identify}."""
        if credentials is None or credentials.username != TOKEN_USER:
            return await self._others.identify(credentials)
        now = datetime.fromtimestamp(self._clock.seconds(), timezone.utc)
        token = await self._valid(credentials.password, now)
        if token is None:
            metrics.token_logins.labels("refused").inc()
            raise BadCredentials(REFUSED)
        metrics.token_logins.labels("ok").inc()
        self._note_use(token, now)
        return Identity(token.owner, token.id, token.scope)

    async def _valid(self, text: str, now: datetime) -> Token | None:
        try:
            token_id, secret = parse_token(text)
        except ValueError:
            return None
        token = await self._reading.run(token_id, lambda: self._tokens.token(token_id))
        same = hmac.compare_digest(_digest(secret), token.digest if token else _NO_DIGEST)
        return token if same and token is not None and not token.expired(now) else None

    def _note_use(self, token: Token, now: datetime) -> None:
        if token.id in self._noting or (token.last_used is not None and now - token.last_used < TOKEN_USE_STEP):
            return
        # Nobody waits for it, and a store that takes no changes now may still be read.
        self._noting.add(token.id)
        self._tokens.note_token_use(token.id, now).addErrback(self._not_noted, token.id).addBoth(self._noted, token.id)

    def _not_noted(self, failure: Failure, token_id: str) -> None:
        self._log.warn(
            "The use of token {token} is not noted: {reason}", token=token_id, reason=failure.getErrorMessage()
        )

    def _noted(self, result: T, token_id: str) -> T:
        self._noting.discard(token_id)
        return result


def _digest(secret: str) -> str:
    return sha256(secret.encode("ascii")).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
