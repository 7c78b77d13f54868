"""API tokens in Redis: one hash per token, which expires by itself."""

from __future__ import annotations

from datetime import datetime, timezone

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, NotFound
from cheddar.formats.token_records import dump_token, load_token
from cheddar.interfaces import ITokenStore
from cheddar.model import TOKEN_KEPT, TOKEN_USE_STEP, Token
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

# KEYS: the token; ARGV: what the keys of users begin with. A user that redis-cli removed has left its tokens behind.
_READ = """
local found = redis.call('HMGET', KEYS[1], 'record', 'used')
if not found[1] then return false end
local owner = cjson.decode(found[1])['owner']
if not string.find(owner, ':', 1, true) and redis.call('EXISTS', ARGV[1] .. owner) == 0 then return false end
return found
"""

# KEYS: the token, the ids of its owner's, its owner as a user; ARGV: record, id, time to be forgotten at, '1' where its
# owner must be a user, what the keys of tokens begin with. Ids of tokens that have expired go from the owner's.
_ADD = """
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[3]) == 0 then return 'no user' end
if redis.call('HSETNX', KEYS[1], 'record', ARGV[1]) == 0 then return 'exists' end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('EXISTS', ARGV[5] .. id) == 0 then redis.call('SREM', KEYS[2], id) end
end
return 'added'
"""

# KEYS: the token; ARGV: id, what the keys of owners' ids begin with.
_REVOKE = """
local record = redis.call('HGET', KEYS[1], 'record')
if not record then return 0 end
redis.call('SREM', ARGV[2] .. cjson.decode(record)['owner'], ARGV[1])
return redis.call('DEL', KEYS[1])
"""

# KEYS: the token; ARGV: time of use, the latest that makes it worth noting.
_NOTE = """
local found = redis.call('HMGET', KEYS[1], 'record', 'used')
if found[1] and (not found[2] or tonumber(found[2]) <= tonumber(ARGV[2])) then
  redis.call('HSET', KEYS[1], 'used', ARGV[1])
end
"""


@implementer(ITokenStore)
@define(eq=False)
class RedisTokens:
    """Tokens are removed with their users by the scripts of L{cheddar.store.redis.accounts}."""

    _connection: RedisConnection

    @returns_deferred
    async def token(self, token_id: str) -> Token | None:
        """The token, or None."""
        return await self._read(keys.token(token_id))

    @returns_deferred
    async def tokens(self, owner: str | None) -> tuple[Token, ...]:
        """All of an owner, or all there are, by their time of creation."""
        if owner is None:
            names = await self._connection.names(keys.TOKEN)
        else:
            ids = await self._connection.command("SMEMBERS", keys.tokens_of(owner))
            names = tuple(keys.token(token_id.decode()) for token_id in ids)
        found = [token for name in names if (token := await self._read(name)) is not None]
        return tuple(sorted(found, key=lambda token: (token.created, token.id)))

    @returns_deferred
    async def add_token(self, token: Token) -> None:
        """Add a token. [NotFound, AlreadyExists]"""
        forgotten_at = (token.expires + TOKEN_KEPT).timestamp()
        outcome = await self._connection.script(
            _ADD,
            (keys.token(token.id), keys.tokens_of(token.owner), keys.user(token.owner)),
            (dump_token(token), token.id, f"{forgotten_at:.0f}", str(int(token.of_user)), keys.TOKEN),
        )
        if outcome == b"no user":
            raise NotFound(f"There is no user {token.owner}.")
        if outcome == b"exists":
            raise AlreadyExists(f"There is a token {token.id} already.")

    @returns_deferred
    async def revoke_token(self, token_id: str) -> bool:
        """Forget a token. @return: whether there was one."""
        return bool(await self._connection.script(_REVOKE, (keys.token(token_id),), (token_id, keys.tokens_of(""))))

    @returns_deferred
    async def note_token_use(self, token_id: str, at: datetime) -> None:
        """Note that a token was used, to the minute."""
        time = at.timestamp()
        await self._connection.script(
            _NOTE, (keys.token(token_id),), (f"{time:.3f}", f"{time - TOKEN_USE_STEP.total_seconds():.3f}")
        )

    async def _read(self, key: str) -> Token | None:
        found = await self._connection.script(_READ, (key,), (keys.USER,))
        if found is None:
            return None
        record, used = found
        last_used = None if used is None else datetime.fromtimestamp(float(used), timezone.utc)
        return load_token(record.decode(), last_used)
