"""Leases in Redis, by its clock: nodes' clocks need not agree."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.interfaces import ILeases
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

_CLAIM = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


@implementer(ILeases)
@define(eq=False)
class RedisLeases:
    """A lease is a key that expires."""

    _connection: RedisConnection

    @returns_deferred
    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Take the lease, or prolong it. @return: whether C{holder} has it now."""
        milliseconds = str(max(1, round(seconds * 1000)))
        return bool(await self._connection.script(_CLAIM, (keys.lease(name),), (holder, milliseconds)))

    @returns_deferred
    async def release(self, name: str, holder: str) -> None:
        """Give it back."""
        await self._connection.script(_RELEASE, (keys.lease(name),), (holder,))
