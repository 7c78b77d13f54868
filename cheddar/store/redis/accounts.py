"""Users in Redis: one string per user, as the original Cheddar has them, so that C{redis-cli set} adds one."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import NotFound
from cheddar.interfaces import IAccountStore
from cheddar.model import User
from cheddar.store.changes import EVERYTHING
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection
from cheddar.store.redis.rights import KEYS
from cheddar.store.redis.rights_scripts import FORGET_USER

_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# KEYS: serial of roles, roles, groups, the user, its grants, the ids of its tokens; ARGV: its name, what the keys of
# tokens begin with, its password. A user that redis-cli removed has left behind what it was given: the next of that
# name gets none of it.
_FORGET = (
    FORGET_USER
    + """
local function forget()
  redis.call('DEL', KEYS[5])
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[6])) do redis.call('DEL', ARGV[2] .. id) end
  redis.call('DEL', KEYS[6])
  forget_user(ARGV[1])
end
"""
)
# SET goes first: a Redis without room refuses a script at its first change, if at all.
_PUT = (
    _FORGET
    + """
local known = redis.call('EXISTS', KEYS[4])
redis.call('SET', KEYS[4], ARGV[3])
if known == 0 then forget() end
"""
)
_REMOVE = (
    _FORGET
    + """
forget()
return redis.call('DEL', KEYS[4])
"""
)
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
        found = await self._connection.names(keys.USER)
        return tuple(name[len(keys.USER) :] for name in found)

    @returns_deferred
    async def put_user(self, user: User) -> None:
        """Add a user, or replace it; one who is new begins without roles."""
        await self._connection.change(
            _PUT, (*KEYS, *_keys(user.name)), (user.name, keys.TOKEN, user.password), EVERYTHING
        )

    @returns_deferred
    async def replace_password(self, name: str, old: str, new: str) -> bool:
        """Set the password only if it is still C{old}. @return: whether it was."""
        return bool(await self._connection.script(_REPLACE, (keys.user(name),), (old, new)))

    @returns_deferred
    async def remove_user(self, name: str) -> bool:
        """
        Remove a user, what it was granted, its tokens, its roles and its place in groups. @return: whether there was
        one.
        """
        return bool(await self._connection.change(_REMOVE, (*KEYS, *_keys(name)), (name, keys.TOKEN), EVERYTHING))

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


def _keys(user: str) -> tuple[str, str, str]:
    return keys.user(user), keys.grants(user), keys.tokens_of(user)
