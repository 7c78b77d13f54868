"""Users in Redis: one string per user, as the original Cheddar has them, so that C{redis-cli set} adds one."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound
from cheddar.interfaces import IAccountStore
from cheddar.model import User
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# KEYS: the user, its grants. A user that redis-cli removed has left its grants behind: the next of that name gets none.
# SET goes first: a Redis without room refuses a script at its first change, if at all.
_PUT = """
local known = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
if known == 0 then redis.call('DEL', KEYS[2]) end
"""
_REMOVE = """
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])
"""
_GRANTS = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
return redis.call('SMEMBERS', KEYS[2])
"""
_GRANT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
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
        await self._connection.script(_PUT, _keys(user.name), (user.password,))

    @returns_deferred
    async def replace_password(self, name: str, old: str, new: str) -> bool:
        """Set the password only if it is still C{old}. @return: whether it was."""
        return bool(await self._connection.script(_REPLACE, (keys.user(name),), (old, new)))

    @returns_deferred
    async def remove_user(self, name: str) -> bool:
        """Remove a user, and what it was granted. @return: whether there was one."""
        return bool(await self._connection.script(_REMOVE, _keys(name)))

    @returns_deferred
    async def grants(self, user: str) -> tuple[str, ...]:
        """The patterns that a user was granted, sorted."""
        patterns = await self._connection.script(_GRANTS, _keys(user))
        return tuple(sorted(pattern.decode("utf-8", "backslashreplace") for pattern in patterns))

    @returns_deferred
    async def put_grant(self, user: str, pattern: str) -> None:
        """Grant a user a pattern. [NotFound]"""
        if not await self._connection.script(_GRANT, _keys(user), (pattern,)):
            raise NotFound(f"There is no user {user}.")

    @returns_deferred
    async def remove_grant(self, user: str, pattern: str) -> bool:
        """Take a grant back. @return: whether there was one."""
        return bool(await self._connection.command("SREM", keys.grants(user), pattern))


def _keys(user: str) -> tuple[str, str]:
    return keys.user(user), keys.grants(user)
