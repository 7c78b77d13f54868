"""
Changes of roles and groups as Lua scripts: Redis runs each whole, and nothing between.

C{KEYS} are the serial, the roles and the groups. A role is a line of its name, a space and its holder; a field of
a hash holds lines, none of them twice, and is not there without one.
"""

from __future__ import annotations

from cheddar.store.redis.changes import NOTE

# A serial is never used twice, even where Redis lost its data or went back to a backup.
ADVANCE_RIGHTS = (
    NOTE
    + """
local function advance_rights(key)
  local now = redis.call('TIME')
  local time = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  local last = tonumber(redis.call('GET', key) or '0')
  redis.call('SET', key, string.format('%.0f', math.max(last + 1, time)))
  note('')
end
"""
)

#: Adds a line to a field of a hash; nothing where it has it.
ADD_LINE = """
local function add_line(key, field, line)
  local lines = redis.call('HGET', key, field)
  if not lines then
    redis.call('HSET', key, field, line)
  elseif not string.find('\\n' .. lines .. '\\n', '\\n' .. line .. '\\n', 1, true) then
    redis.call('HSET', key, field, lines .. '\\n' .. line)
  end
end
"""

# Takes out the lines that C{meant} says; what it answers as a second value takes their place.
_TAKE_LINES = """
local function take_lines(key, field, meant)
  local kept, known, taken = {}, {}, false
  local function keep(line)
    if not known[line] then
      known[line] = true
      table.insert(kept, line)
    end
  end
  for line in string.gmatch(redis.call('HGET', key, field) or '', '[^\\n]+') do
    local out, instead = meant(line)
    if not out then
      keep(line)
    else
      taken = true
      if instead then keep(instead) end
    end
  end
  if not taken then return false end
  if #kept == 0 then
    redis.call('HDEL', key, field)
  else
    redis.call('HSET', key, field, table.concat(kept, '\\n'))
  end
  return true
end
local function nobody(line)
  if string.sub(line, 1, 6) == 'owner ' then return 'owner ' end
end
local function take_roles_of(holder)
  local taken = false
  for _, target in ipairs(redis.call('HKEYS', KEYS[2])) do
    if take_lines(KEYS[2], target, function(line)
      return string.match(line, '^%l+ (.*)$') == holder, nobody(line)
    end) then taken = true end
  end
  return taken
end
"""

# Fields and values with a vertical tab between, parts with a form feed: no name, pattern or user has one.
READ = """
return table.concat({
  redis.call('GET', KEYS[1]) or '0',
  table.concat(redis.call('HGETALL', KEYS[2]), '\\v'),
  table.concat(redis.call('HGETALL', KEYS[3]), '\\v')
}, '\\f')
"""

# ARGV: target, line.
GIVE = (
    ADVANCE_RIGHTS
    + ADD_LINE
    + """
add_line(KEYS[2], ARGV[1], ARGV[2])
advance_rights(KEYS[1])
"""
)

# ARGV: target, line.
TAKE_BACK = (
    ADVANCE_RIGHTS
    + _TAKE_LINES
    + """
local taken = take_lines(KEYS[2], ARGV[1], function(line) return line == ARGV[2], nobody(line) end)
advance_rights(KEYS[1])
return taken and 1 or 0
"""
)

# ARGV: group, user.
ADD_MEMBER = (
    ADVANCE_RIGHTS
    + ADD_LINE
    + """
add_line(KEYS[3], ARGV[1], ARGV[2])
advance_rights(KEYS[1])
"""
)

# ARGV: group, user.
REMOVE_MEMBER = (
    ADVANCE_RIGHTS
    + _TAKE_LINES
    + """
local taken = take_lines(KEYS[3], ARGV[1], function(line) return line == ARGV[2] end)
advance_rights(KEYS[1])
return taken and 1 or 0
"""
)

# ARGV: group.
REMOVE_GROUP = (
    ADVANCE_RIGHTS
    + _TAKE_LINES
    + """
local members = redis.call('HDEL', KEYS[3], ARGV[1]) == 1
local roles = take_roles_of(ARGV[1])
advance_rights(KEYS[1])
return (members or roles) and 1 or 0
"""
)

#: For scripts of others, with the same C{KEYS}: nobody of that name has a role, or is in a group.
FORGET_USER = (
    ADVANCE_RIGHTS
    + _TAKE_LINES
    + """
local function forget_user(user)
  take_roles_of(user)
  for _, group in ipairs(redis.call('HKEYS', KEYS[3])) do
    take_lines(KEYS[3], group, function(line) return line == user end)
  end
  advance_rights(KEYS[1])
end
"""
)
