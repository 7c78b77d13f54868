"""What others have changed in Redis: each script that changes something notes it, in the same step."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from cheddar.deferreds import returns_deferred
from cheddar.errors import StoreUnavailable
from cheddar.store.changes import EVERYTHING, KEPT
from cheddar.store.redis import keys
from cheddar.store.redis.connection import RedisConnection

#: For scripts that change something: notes the name of a project, or an empty one for everything.
NOTE = f"""
local function note(name)
  redis.call('LPUSH', '{keys.CHANGES}', name)
  redis.call('LTRIM', '{keys.CHANGES}', 0, {KEPT - 1})
  redis.call('INCR', '{keys.CHANGE_NUMBER}')
end
"""

# KEYS: changes, their number. ARGV: the number that is known, how many are kept. The first line is the number now;
# then come names, if it is known what was changed meanwhile.
_READ = """
local number = tonumber(redis.call('GET', KEYS[2]) or '0')
local new = number - tonumber(ARGV[1])
if new == 0 then return tostring(number) end
if new < 0 or new > tonumber(ARGV[2]) then return number .. '\\n' end
return number .. '\\n' .. table.concat(redis.call('LRANGE', KEYS[1], 0, new - 1), '\\n')
"""


@define(eq=False)
class RedisChanges:
    """Knows how far this process has read."""

    _connection: RedisConnection
    _known: int | None = field(default=None, init=False)

    @returns_deferred
    async def new(self) -> Iterable[str]:
        """What was changed since this was asked, and L{EVERYTHING} where nobody knows any more. [StoreUnavailable]"""
        try:
            read = await self._connection.script(
                _READ, (keys.CHANGES, keys.CHANGE_NUMBER), (str(self._known or 0), str(KEPT))
            )
        except StoreUnavailable:
            # Another server may answer next, which has not got all that this one had.
            self._known = None
            raise
        number, *names = read.decode().split("\n")
        first = self._known is None
        self._known = int(number)
        return (EVERYTHING,) if first else names
