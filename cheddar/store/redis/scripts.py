"""
Changes of local projects as Lua scripts: Redis runs each whole, and nothing between.

C{KEYS} are those of C{cheddar.store.redis.projects}, always in this order: serial, owned, serials, listed, history,
history times, files of the project, used names of the project, statuses, serial of roles, roles. C{ARGV[1]} is the
project.
"""

from __future__ import annotations

from cheddar.store.redis.changes import NOTE
from cheddar.store.redis.rights_scripts import ADD_LINE, ADVANCE_RIGHTS

# A serial is never used twice, even where Redis lost its data or went back to a backup: what nodes remember under a
# serial would otherwise pass for current. So it is at least the time in milliseconds.
_ADVANCE = (
    NOTE
    + """
local function advance()
  local now = redis.call('TIME')
  local time = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  local last = tonumber(redis.call('GET', KEYS[1]) or '0')
  local serial = string.format('%.0f', math.max(last + 1, time))
  redis.call('SET', KEYS[1], serial)
  note(ARGV[1])
  return serial
end
"""
)

# Whether the project is still as the caller read it: each of its changes gives it another serial.
_UNCHANGED = """
if (redis.call('HGET', KEYS[3], ARGV[1]) or '') ~= ARGV[2] then return 0 end
"""

# One string, as a reply of many parts costs the reader far more than its bytes.
READ_PROJECT = """
local display_name = redis.call('HGET', KEYS[2], ARGV[1])
if not display_name then return false end
local records = redis.call('HVALS', KEYS[7])
table.insert(records, 1, redis.call('HGET', KEYS[9], ARGV[1]) or '')
table.insert(records, 1, display_name)
table.insert(records, 1, redis.call('HGET', KEYS[3], ARGV[1]) or '0')
return table.concat(records, '\\n')
"""

# ARGV[2]: file name.
READ_FILE = """
return (redis.call('HGET', KEYS[3], ARGV[1]) or '') .. '\\n' .. (redis.call('HGET', KEYS[7], ARGV[2]) or '')
"""

# ARGV[2...]: display name, file name, record, SHA-256, '1' where names may be used again, history's member, time,
# history's size, what a founder becomes (the line of a role; a space: nobody anything; empty: nobody founds). Answers
# with the status where that lets the project take no files.
ADD_FILE = (
    _ADVANCE
    + ADVANCE_RIGHTS
    + ADD_LINE
    + """
local status = redis.call('HGET', KEYS[9], ARGV[1]) or ''
if string.find(status, '^%["archived"') or string.find(status, '^%["quarantined"') then return status end
if ARGV[10] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 'founded' end
if redis.call('HEXISTS', KEYS[7], ARGV[3]) == 1 then return 'exists' end
local used = redis.call('HGET', KEYS[8], ARGV[3])
if used and ARGV[6] ~= '1' and (used == '' or used ~= ARGV[5]) then return 'used' end
local serial = advance()
redis.call('HSET', KEYS[7], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], serial)
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[5], serial, ARGV[7])
redis.call('HSET', KEYS[6], ARGV[7], ARGV[8])
for _, old in ipairs(redis.call('ZREVRANGE', KEYS[5], ARGV[9], -1)) do
  redis.call('ZREM', KEYS[5], old)
  redis.call('HDEL', KEYS[6], old)
end
if #ARGV[10] > 1 then
  add_line(KEYS[11], ARGV[1], ARGV[10])
  advance_rights(KEYS[10])
end
return 'added'
"""
)

# ARGV[2...]: serial that was read, display name, file name, record.
PUT_FILE = (
    _ADVANCE
    + _UNCHANGED
    + """
local serial = advance()
redis.call('HSET', KEYS[7], ARGV[4], ARGV[5])
redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[1], serial)
redis.call('SADD', KEYS[4], ARGV[1])
return 1
"""
)

# ARGV[2...]: serial that was read; then file name and record, and again.
SET_FILES = (
    _ADVANCE
    + _UNCHANGED
    + """
redis.call('HSET', KEYS[3], ARGV[1], advance())
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[7], ARGV[i], ARGV[i + 1]) end
return 1
"""
)

# ARGV[2...]: serial that was read, history's member to forget or ''; then file name and SHA-256, and again.
REMOVE_FILES = (
    _ADVANCE
    + _UNCHANGED
    + """
redis.call('HSET', KEYS[3], ARGV[1], advance())
for i = 4, #ARGV, 2 do
  redis.call('HDEL', KEYS[7], ARGV[i])
  redis.call('HSET', KEYS[8], ARGV[i], ARGV[i + 1])
end
if redis.call('HLEN', KEYS[7]) == 0 then redis.call('SREM', KEYS[4], ARGV[1]) end
if ARGV[3] ~= '' then
  redis.call('ZREM', KEYS[5], ARGV[3])
  redis.call('HDEL', KEYS[6], ARGV[3])
end
return 1
"""
)

# ARGV[2]: the line that says the status; empty for none.
SET_STATUS = (
    _ADVANCE
    + """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 'unknown' end
redis.call('HSET', KEYS[3], ARGV[1], advance())
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[9], ARGV[1])
else
  redis.call('HSET', KEYS[9], ARGV[1], ARGV[2])
end
return 'set'
"""
)

RELEASE_NAME = (
    _ADVANCE
    + ADVANCE_RIGHTS
    + """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 'unknown' end
if redis.call('HLEN', KEYS[7]) > 0 then return 'files' end
advance()
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[9], ARGV[1])
redis.call('HDEL', KEYS[11], ARGV[1])
advance_rights(KEYS[10])
return 'freed'
"""
)

# KEYS: history, history times; ARGV: how many. Lines: member, time, and again.
READ_HISTORY = """
local lines = {}
if tonumber(ARGV[1]) > 0 then
  for _, member in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
    table.insert(lines, member)
    table.insert(lines, redis.call('HGET', KEYS[2], member) or '')
  end
end
return table.concat(lines, '\\n')
"""

# KEYS: serial, listed, serials, statuses. Parts with an empty line between: no name, serial or status has one, or is
# empty. Joined whole, not line by line: Redis answers nobody else meanwhile.
READ_LIST = """
return table.concat({
  redis.call('GET', KEYS[1]) or '0',
  table.concat(redis.call('SMEMBERS', KEYS[2]), '\\n'),
  table.concat(redis.call('HGETALL', KEYS[3]), '\\n'),
  table.concat(redis.call('HGETALL', KEYS[4]), '\\n')
}, '\\n\\n')
"""

# KEYS: a set, or a hash whose keys are asked for. A name has no line breaks.
SET_MEMBERS = "return table.concat(redis.call('SMEMBERS', KEYS[1]), '\\n')"
HASH_KEYS = "return table.concat(redis.call('HKEYS', KEYS[1]), '\\n')"
