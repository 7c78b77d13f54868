"""The newest events of the audit log in Redis."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.formats.event_lines import dump_event, load_event
from cheddar.interfaces import IEventStore
from cheddar.model import Event, EventQuery
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

#: Events read at a time.
_STEP = 500

# KEYS: events, the last one's number, numbers by operation, their order.
# ARGV: how many are kept, then an operation (or nothing) and a record each.
_ADD = """
for i = 2, #ARGV, 2 do
  local number = ARGV[i] ~= '' and redis.call('HGET', KEYS[3], ARGV[i])
  if not number then
    number = redis.call('INCR', KEYS[2])
    redis.call('ZADD', KEYS[4], number, number)
    if ARGV[i] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], number) end
  end
  redis.call('HSET', KEYS[1], number, ARGV[i] .. '\\n' .. ARGV[i + 1])
end
local over = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[1])
if over > 0 then
  for _, number in ipairs(redis.call('ZRANGE', KEYS[4], 0, over - 1)) do
    local record = redis.call('HGET', KEYS[1], number)
    local operation = record and string.match(record, '^([^\\n]*)')
    if operation and operation ~= '' then redis.call('HDEL', KEYS[3], operation) end
    redis.call('HDEL', KEYS[1], number)
    redis.call('ZREM', KEYS[4], number)
  end
end
return 1
"""
# KEYS: events, their order; ARGV: first, last.
_READ = """
local numbers = redis.call('ZREVRANGE', KEYS[2], ARGV[1], ARGV[2])
if #numbers == 0 then return {} end
return redis.call('HMGET', KEYS[1], unpack(numbers))
"""


@implementer(IEventStore)
@define(eq=False)
class RedisEvents:
    """
    @ivar _kept: how many.
    """

    _connection: RedisConnection
    _kept: int

    @returns_deferred
    async def add(self, events: Sequence[Event]) -> None:
        """Note events."""
        words = [word for event in events for word in (event.operation, dump_event(event))]
        if words:
            await self._connection.script(
                _ADD,
                (keys.EVENTS, keys.EVENT_NUMBER, keys.EVENT_OPERATIONS, keys.EVENT_ORDER),
                (str(self._kept), *words),
            )

    @returns_deferred
    async def find(self, query: EventQuery, limit: int) -> tuple[Event, ...]:
        """The newest events that are looked for."""
        found: list[Event] = []
        first = 0
        while len(found) < limit:
            records = await self._connection.script(
                _READ, (keys.EVENTS, keys.EVENT_ORDER), (str(first), str(first + _STEP - 1))
            )
            lines = [record.decode().partition("\n")[2] for record in records if record is not None]
            found += [event for event in map(load_event, lines) if query.admits(event)]
            if len(records) < _STEP:
                break
            first += _STEP
        return tuple(found[:limit])
