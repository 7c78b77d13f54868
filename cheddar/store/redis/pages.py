"""Upstream's answers in Redis: one value per page, and its times beside it."""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.logger import Logger
from zope.interface import implementer

from cheddar.deferreds import returns_deferred
from cheddar.errors import StoreUnavailable
from cheddar.formats.records import dump_page
from cheddar.interfaces import IPageCache
from cheddar.model import CachedPage
from cheddar.store.parsed import ParsedListings
from cheddar.store.redis import keys
from cheddar.store.redis.changes import NOTE
from cheddar.store.redis.connection import RedisConnection
from cheddar.store.redis.projects import SMALL, names_in
from cheddar.store.redis.scripts import SET_MEMBERS
from cheddar.store.wanted import HALF_LIFE, LEAP

_log = Logger()

#: How many files make a page of about L{SMALL} bytes.
_FEW = 150

# KEYS: pages, checked, asked, wanted, with listing; ARGV[1]: the name. Times go through as text: Lua would round them.
_GET = """
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return false end
local checked = redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0'
local asked = redis.call('ZSCORE', KEYS[3], ARGV[1]) or '0'
return checked .. '\\n' .. asked .. '\\n' .. record
"""
_PUT = (
    NOTE
    + """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
local wanted = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not wanted or tonumber(wanted) < tonumber(ARGV[4]) then redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1]) end
redis.call(ARGV[5], KEYS[5], ARGV[1])
note(ARGV[1])
return 1
"""
)
# ARGV: name, checked at.
_MARK_CHECKED = (
    NOTE
    + """
if redis.call('ZADD', KEYS[2], 'XX', 'CH', ARGV[2], ARGV[1]) == 1 then note(ARGV[1]) end
return 1
"""
)
# As L{cheddar.store.wanted.asked_again} does. ARGV: name, asked at, the half-life, the leap.
_TOUCH = """
local before, asked, half_life = redis.call('ZSCORE', KEYS[3], ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not before then return 0 end
local wanted = tonumber(redis.call('ZSCORE', KEYS[4], ARGV[1]) or before)
if wanted - asked > tonumber(ARGV[4]) then
  wanted = asked
else
  local more = math.log(1 + 2 ^ (-math.abs(wanted - asked) / half_life)) / math.log(2)
  wanted = math.max(wanted, asked) + half_life * more
end
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[4], string.format('%.17g', wanted), ARGV[1])
return 1
"""
_DROP = (
    NOTE
    + """
note(ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('SREM', KEYS[5], ARGV[1])
return 1
"""
)
# ARGV: checked before, asked after, limit. A Cheddar that knew no wishes has noted requests alone: what is missing is
# filled in. No listing is wanted less than its last request makes it.
_STALE = """
if redis.call('ZCARD', KEYS[4]) < redis.call('ZCARD', KEYS[3]) then
  redis.call('ZUNIONSTORE', KEYS[4], 2, KEYS[4], KEYS[3], 'AGGREGATE', 'MAX')
end
local names, offset, limit, step = {}, 0, tonumber(ARGV[3]), 200
while #names < limit do
  local batch = redis.call('ZREVRANGEBYSCORE', KEYS[4], '+inf', '(' .. ARGV[2], 'LIMIT', offset, step)
  for _, name in ipairs(batch) do
    local checked, asked = redis.call('ZSCORE', KEYS[2], name), redis.call('ZSCORE', KEYS[3], name)
    if #names < limit and checked and tonumber(checked) < tonumber(ARGV[1])
      and asked and tonumber(asked) > tonumber(ARGV[2]) then table.insert(names, name) end
  end
  if #batch < step then break end
  offset = offset + step
end
return table.concat(names, '\\n')
"""


@implementer(IPageCache)
@define(eq=False)
class RedisPages:
    """Times lie in sorted sets, so that noting one doesn't write the listing again."""

    _connection: RedisConnection
    _parsed: ParsedListings[bytes] = field(factory=ParsedListings, init=False)

    @returns_deferred
    async def get(self, index: str, name: str) -> CachedPage | None:
        """The remembered answer; a damaged one is as good as none."""
        read = await self._connection.script(_GET, _keys(index), (name,))
        if read is None:
            return None
        try:
            return await self._connection.work(len(read) > SMALL, self._load, index, name, read)
        except StoreUnavailable as damage:
            _log.warn("The cached listing of {name} is fetched again: {damage}", name=name, damage=damage)
            return None

    def _load(self, index: str, name: str, read: bytes) -> CachedPage:
        checked_at, asked_at, record = read.split(b"\n", 2)
        page = self._parsed.load(index, name, record)
        return evolve(page, checked_at=float(checked_at), asked_at=float(asked_at))

    @returns_deferred
    async def put(self, index: str, name: str, page: CachedPage) -> None:
        """Remember an answer in place of the one before."""
        long = page.project is not None and len(page.project.files) > _FEW
        record = await self._connection.work(long, dump_page, page)
        listing = "SADD" if page.listed else "SREM"
        words = (name, record, repr(page.checked_at), repr(page.asked_at), listing)
        await self._connection.change(_PUT, _keys(index), words, name)

    @returns_deferred
    async def touch(self, index: str, name: str, asked_at: float) -> None:
        """Note that a client asked."""
        await self._connection.script(_TOUCH, _keys(index), (name, repr(asked_at), repr(HALF_LIFE), repr(LEAP)))

    @returns_deferred
    async def mark_checked(self, index: str, name: str, checked_at: float) -> None:
        """Note that upstream confirmed the answer."""
        await self._connection.change(_MARK_CHECKED, _keys(index), (name, repr(checked_at)), name)

    @returns_deferred
    async def stale(self, index: str, checked_before: float, asked_after: float, limit: int) -> tuple[str, ...]:
        """Names that are due, the most wanted first."""
        names = await self._connection.script(
            _STALE,
            _keys(index),
            (repr(checked_before), repr(asked_after), str(limit)),
        )
        return tuple(names.decode().split("\n")) if names else ()

    @returns_deferred
    async def names(self, index: str) -> tuple[str, ...]:
        """Projects with a listing, sorted."""
        read = await self._connection.script(SET_MEMBERS, (keys.with_listing(index),))
        return await self._connection.work(len(read) > SMALL, names_in, read)

    @returns_deferred
    async def drop(self, index: str, name: str) -> None:
        """Forget."""
        await self._connection.change(_DROP, _keys(index), (name,), name)


def _keys(index: str) -> tuple[str, ...]:
    return keys.pages(index), keys.checked(index), keys.asked(index), keys.wanted(index), keys.with_listing(index)
