"""The way in: whoever knows who somebody is, asked no more often than guessing is allowed."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from cheddar import metrics
from cheddar.auth.attempts import Attempts
from cheddar.deferreds import returns_deferred, shielded
from cheddar.errors import BadCredentials, CheddarError, TooOften
from cheddar.interfaces import IAuthenticator, ILogins
from cheddar.model import ANONYMOUS, TOKEN_USER, Credentials, Identity

#: No user's name is as long (L{cheddar.names.is_user_name}): of longer ones so much is remembered.
ACCOUNT_LENGTH = 65


@implementer(ILogins)
@define(eq=False)
class LimitedLogins:
    """
    Asks an authenticator, unless too many logins have failed.

    Credentials that were right the last time are never held back, whatever others have done at the same address: a
    job with an old password does not stop those with the new one. They go to the authenticator as ever, so this opens
    nothing to a user that was removed. What is remembered of them is a keyed digest, in this process alone.
    """

    _authenticator: IAuthenticator
    _attempts: Attempts
    _right: OrderedDict[bytes, None] = field(factory=OrderedDict, init=False)
    _secret: bytes = field(factory=lambda: secrets.token_bytes(32), init=False)

    _log = Logger()

    RIGHT_MOST = 4096

    @returns_deferred
    async def identify(self, credentials: Credentials | None, client: str) -> Identity:
        """See L{ILogins.identify}."""
        if credentials is None:
            return ANONYMOUS
        digest = self._digest(credentials)
        account = credentials.username[:ACCOUNT_LENGTH]
        if account == TOKEN_USER:
            # Each token counts for itself: one that was revoked does not stop another one's first use.
            account += f" {digest.hex()[:16]}"
        while not (known := digest in self._right):
            try:
                others = self._attempts.take(client, account)
            except TooOften:
                metrics.logins.labels("limited").inc()
                raise
            if others is None:
                break
            await others
        # Who leaves has tried all the same: an attempt counts, however it is made.
        outcome = await shielded(self._attempt(credentials, client, account, digest, known))
        if isinstance(outcome, CheddarError):
            raise outcome
        return outcome

    @returns_deferred
    async def _attempt(
        self, credentials: Credentials, client: str, account: str, digest: bytes, known: bool
    ) -> Identity | CheddarError:
        failed = False
        try:
            identity = await self._authenticator.identify(credentials)
        except BadCredentials as error:
            failed = True
            self._right.pop(digest, None)
            return error
        except CheddarError as error:
            return error
        else:
            metrics.logins.labels("ok").inc()
            self._right[digest] = None
            self._right.move_to_end(digest)
            if len(self._right) > self.RIGHT_MOST:
                self._right.popitem(last=False)
            return identity
        finally:
            if not known:
                closed = self._attempts.end(client, account, failed)
            else:
                closed = failed and self._attempts.note_failure(client, account)
            if failed:
                self._tell(client, closed)

    def _tell(self, client: str, closed: bool) -> None:
        metrics.logins.labels("refused").inc()
        # Not the name: now and then it is a password, typed into the wrong field.
        self._log.info("A login from {client} was refused", client=client)
        if closed:
            self._log.warn(
                "Too many logins from {client} have failed: for a while no more are looked at", client=client
            )

    def _digest(self, credentials: Credentials) -> bytes:
        user, password = credentials.username.encode(), credentials.password.encode()
        return hmac.digest(self._secret, b"%d:%s%s" % (len(user), user, password), "sha256")
