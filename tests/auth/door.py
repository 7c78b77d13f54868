"""What logging in is tested with: a real store, and a pool that counts what it is given to do."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from cheddar.auth.checkers import Checkers
from cheddar.auth.passwords import PasswordAuthenticator
from cheddar.deferreds import returns_deferred
from cheddar.errors import BadCredentials
from cheddar.model import Credentials, Identity, User
from cheddar.store.sqlite import SQLiteStore


class CountingPool(ThreadPool):
    """A pool of threads that counts what it is given to do."""

    jobs = 0

    def callInThreadWithCallback(self, *args: Any, **kwargs: Any) -> None:
        """See L{ThreadPool}."""
        self.jobs += 1
        super().callInThreadWithCallback(*args, **kwargs)


@attrs.define(eq=False)
class Door:
    """An authenticator, and what is behind it."""

    store: SQLiteStore
    pool: CountingPool
    clock: Clock
    reactor: Any

    def keeper(self, plaintext: str = "upgrade", others: Checkers | None = None) -> PasswordAuthenticator:
        """Somebody who asks for names and passwords."""
        return PasswordAuthenticator(self.store.accounts, self.reactor, self.clock, self.pool, plaintext, others)

    @returns_deferred
    async def put(self, name: str, password: str) -> None:
        """Add a user, or change the password."""
        await self.store.accounts.put_user(User(name, password))

    @returns_deferred
    async def cost(self, keeper: PasswordAuthenticator, name: str, password: str) -> int:
        """How many jobs a login takes, be it right or wrong."""
        before = self.pool.jobs
        try:
            await keeper.identify(Credentials(name, password))
        except BadCredentials:
            pass
        return self.pool.jobs - before


async def refused(asked: Deferred[Identity]) -> bool:
    """Whether a login is refused."""
    try:
        await asked
    except BadCredentials:
        return True
    return False
