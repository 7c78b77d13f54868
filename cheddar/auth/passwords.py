"""Users who log in with a name and a password."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from attrs import define, field
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cheddar.auth.checkers import Checkers
from cheddar.deferreds import SingleFlight, returns_deferred, shielded
from cheddar.errors import BadCredentials, NoRoom, Unavailable
from cheddar.interfaces import IAccountStore, IAuthenticator
from cheddar.model import ANONYMOUS, Credentials, Identity, User
from cheddar.names import is_user_name

P = ParamSpec("P")
T = TypeVar("T")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

#: Verified when there is no such user, so that an unknown name costs the caller what a wrong password costs.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$UyPmNqYnKYQ1SyhxBMfE2nEfA9ZyyPJsEOGFBHdUmyE"

MAX_PASSWORD_BYTES = 1024


def hash_password(password: str) -> str:
    """
    The argon2id hash of a password, as stores keep it. Takes some 70 ms and 19 MiB: not for the reactor's thread.

    @raise ValueError: the password is empty, or longer than L{MAX_PASSWORD_BYTES}.
    """
    if not password or len(password.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    return _hasher.hash(password)


def is_hash(stored: str) -> bool:
    """Whether a stored password is a hash, not plain text set by hand."""
    return stored.startswith("$argon2")


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@implementer(IAuthenticator)
@define(eq=False)
class PasswordAuthenticator:
    """
    Checks names and passwords against the account store; and where that has no user of the name, asks others.

    Argon2 runs in a pool of its own: it takes 19 MiB a thread, and must not keep others from theirs. What was verified
    is remembered under a key that contains the stored value, so a changed or removed user loses access at once.

    An unknown name costs what a wrong password costs: one job in the pool, shared by all who send the same meanwhile.

    @ivar _plaintext: what a plain text password in the store means: C{upgrade}, C{accept} or C{reject}.
    @ivar _others: who else knows names and passwords.
    """

    _accounts: IAccountStore
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _pool: ThreadPool
    _plaintext: str = "upgrade"
    _others: Checkers | None = None
    _verified: OrderedDict[bytes, float] = field(factory=OrderedDict, init=False)
    _secret: bytes = field(factory=lambda: secrets.token_bytes(32), init=False)
    _verifying: SingleFlight[bool] = field(factory=SingleFlight, init=False)
    _hashing: int = field(default=0, init=False)
    _warned: set[str] = field(factory=set, init=False)

    _log = Logger()

    REMEMBERED_SECONDS = 300.0
    REMEMBERED_MOST = 1024
    HASHING_MOST = 32

    @returns_deferred
    async def identify(self, credentials: Credentials | None) -> Identity:
        """See L{IAuthenticator.identify}."""
        if credentials is None:
            return ANONYMOUS
        name, password = credentials.username, credentials.password
        usable = 0 < len(password.encode()) <= MAX_PASSWORD_BYTES
        possible = is_user_name(name)
        user = await self._accounts.user(name) if possible else None
        if user is None and possible and usable and self._others is not None:
            known_as = await self._others.name_of(name, password)
            # Some checkers spell a name as they like it: that is no way around the password of the store's user.
            if known_as is not None and (known_as == name or await self._accounts.user(known_as) is None):
                return Identity(known_as)
        if user is None or not usable or not user.password:
            await self._refuse(name, password if usable else "x")
        elif await self._matches(user, password):
            return Identity(name)
        raise BadCredentials("Unknown user or wrong password.")

    async def _matches(self, user: User, password: str) -> bool:
        if not is_hash(user.password):
            return await self._matches_plain_text(user, password)
        key = self._key(user, password)
        if self._verified.get(key, 0.0) > self._clock.seconds():
            self._verified.move_to_end(key)
            return True
        # One user's many jobs log in at the same moment: that is one verification.
        if not await self._verifying.run(key, lambda: self._in_pool(_verify, user.password, password)):
            return False
        self._verified[key] = self._clock.seconds() + self.REMEMBERED_SECONDS
        while len(self._verified) > self.REMEMBERED_MOST:
            self._verified.popitem(last=False)
        return True

    async def _refuse(self, name: str, password: str) -> bool:
        """Do for nothing what a wrong password makes do."""
        key = self._key(User(name, _NOBODY), password)
        await self._verifying.run(key, lambda: self._in_pool(_verify, _NOBODY, password))
        return False

    async def _matches_plain_text(self, user: User, password: str) -> bool:
        if self._plaintext == "reject":
            self._log.warn(
                "User {name} has a plain text password in the store, which PLAINTEXT_PASSWORDS refuses: "
                "set it with `cheddar user password {name}`",
                name=user.name,
            )
            return await self._refuse(user.name, password)
        digests = (sha256(user.password.encode()).digest(), sha256(password.encode()).digest())
        if not hmac.compare_digest(*digests):
            return await self._refuse(user.name, password)
        if user.name not in self._warned:
            self._warned.add(user.name)
            self._log.warn(
                "User {name} has a plain text password in the store{what}",
                name=user.name,
                what="; it is replaced by its hash now" if self._plaintext == "upgrade" else "",
            )
        if self._plaintext == "upgrade":
            await self._verifying.run(self._key(user, password), lambda: self._upgrade(user, password))
        return True

    @returns_deferred
    async def _upgrade(self, user: User, password: str) -> bool:
        try:
            return await self._accounts.replace_password(
                user.name, user.password, await self._in_pool(hash_password, password)
            )
        except (Unavailable, NoRoom) as error:
            # The password is right: who has it gets in, and the next login tries again.
            self._log.warn("The hash of {name}'s password was not stored: {error}", name=user.name, error=error)
            return False

    def _key(self, user: User, password: str) -> bytes:
        parts = (user.name, password, user.password)
        message = b"".join(b"%d:%s" % (len(part), part) for part in map(str.encode, parts))
        return hmac.digest(self._secret, message, "sha256")

    @returns_deferred
    async def _in_pool(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._hashing >= self.HASHING_MOST:
            raise Unavailable("Too many logins at once: try again in a moment.", retry_after=2)
        self._hashing += 1
        # The thread goes on although the client leaves: it counts until it has ended.
        return await shielded(deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs).addBoth(self._hashed))

    def _hashed(self, result: T) -> T:
        self._hashing -= 1
        return result
