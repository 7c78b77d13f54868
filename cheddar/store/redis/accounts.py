"""Users in Redis: one string per user, as the original Cheddar has them, so that C{redis-cli set} adds one."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import IAccountStore
from cheddar.model import User
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


@implementer(IAccountStore)
@define(eq=False)
class RedisAccounts:
    """Passwords are kept as they are given."""

    _connection: RedisConnection

    @returns_deferred
    async def user(self, name: str) -> User | None:
        """The user, or None."""
        password = await self._connection.command("GET", keys.user(name))
        # A value set by hand may be in any encoding: what is not UTF-8 matches no login, and must not fail one.
        return None if password is None else User(name, password.decode("utf-8", "backslashreplace"))

    @returns_deferred
    async def user_names(self) -> tuple[str, ...]:
        """All users, sorted."""
        found: set[str] = set()
        cursor = "0"
        while True:
            reply, batch = await self._connection.command("SCAN", cursor, "MATCH", keys.USER + "?*", "COUNT", "1000")
            found.update(key.decode("utf-8", "backslashreplace")[len(keys.USER) :] for key in batch)
            cursor = reply.decode()
            if cursor == "0":
                return tuple(sorted(found))

    @returns_deferred
    async def put_user(self, user: User) -> None:
        """Add a user, or replace it."""
        await self._connection.command("SET", keys.user(user.name), user.password)

    @returns_deferred
    async def replace_password(self, name: str, old: str, new: str) -> bool:
        """Set the password only if it is still C{old}. @return: whether it was."""
        return bool(await self._connection.script(_REPLACE, (keys.user(name),), (old, new)))

    @returns_deferred
    async def remove_user(self, name: str) -> bool:
        """Remove a user. @return: whether there was one."""
        return bool(await self._connection.command("DEL", keys.user(name)))
