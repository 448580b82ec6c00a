"""What the shared ledger has Redis do: each is one step there, whatever others do meanwhile.

A user's keys are a hash of row to ``1`` and the key, or to ``2`` and the newest key and the one before, until it is
settled; their places a sorted set. Whoever changes what a user has, or whether it may be used, tells all keepers in the
same step, so that no crash in between leaves them with what was.

Every script is given the key at which the ledger's identity is and, as its first argument, that identity: of a Redis
that was emptied meanwhile nothing is to be believed. Lists come packed in one string, and go so: to read a thousand
answers one by one takes Python longer than all the rest. What is binary goes beside it, as Redis unpacks text only.
"""

from typing import Final

# KEYS: identity, users, unsettled, notes, places given away, users that are off, version, embedding model.
# ARGV: identity, prefix of what is a user's, channel, batch, what is binary, the version that the caller knows.
_HEAD: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('OTHERLEDGER') end
local version = redis.call('GET', KEYS[7]) or '0'
if tonumber(version) > tonumber(ARGV[6]) then return redis.error_reply('NEWERVERSION ' .. version) end
local users, unsettled, notes, places, off = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, channel, batch, binary = ARGV[2], ARGV[3], cmsgpack.unpack(ARGV[4]), ARGV[5]
local function name(kind, user) return prefix .. kind .. ':' .. user end
local function tell(touched)
    if #touched > 0 then redis.call('PUBLISH', channel, cmsgpack.pack({'touched', touched})) end
end
local function frame(values)
    for i = 1, #values do
        local value = values[i]
        values[i] = value and string.char(#value) .. value or '\\0'
    end
    return table.concat(values)
end
"""

# batch: (user, rows), …, and for each row a fresh key. Answers the newest key of each.
MAKE: Final = (
    _HEAD
    + """
local made = {}
for _, one in ipairs(batch) do
    local user, keys = one[1], name('keys', one[1])
    redis.call('ZADD', users, 0, user)
    for _, row in ipairs(one[2]) do
        local key = binary:sub(#made * 16 + 1, #made * 16 + 16)
        local held = redis.call('HGET', keys, row)
        local value = '1' .. key
        if held then
            local waits = redis.call('SISMEMBER', unsettled, user .. '\\0' .. row) == 1
            value = waits and held or '2' .. key .. held:sub(2)
        end
        if value:byte() == 50 and #value == 17 then redis.call('HSET', notes, 'littered', 1) end
        redis.call('HSET', keys, row, value)
        redis.call('SADD', unsettled, user .. '\\0' .. row)
        made[#made + 1] = value:sub(2, 17)
    end
end
return table.concat(made)
"""
)

# batch: (user, rows), …, and for each row its key. Answers how many older ones were destroyed.
SETTLE: Final = (
    _HEAD
    + """
local count = 0
for _, one in ipairs(batch) do count = count + #one[2] end
local place = redis.call('INCRBY', places, count) - count
local replaced, touched, at = 0, {}, 1
for _, one in ipairs(batch) do
    local user, changed = one[1], 0
    for _, row in ipairs(one[2]) do
        local key = binary:sub(at, at + 15)
        local held = redis.call('HGET', name('keys', user), row)
        if held and held:sub(2, 17) == key then
            changed = changed + redis.call('ZADD', name('places', user), 'NX', place, row)
            if held:byte() == 50 then
                redis.call('HSET', name('keys', user), row, '1' .. key)
                replaced, changed = replaced + 1, changed + 1
            end
            redis.call('SREM', unsettled, user .. '\\0' .. row)
        end
        place, at = place + 1, at + 16
    end
    if changed > 0 then touched[#touched + 1] = user end
end
tell(touched)
return replaced
"""
)

# batch: user, rows or nothing. Answers how many had keys.
DESTROY: Final = (
    _HEAD
    + """
local user, rows = batch[1], batch[2]
local keys, count = name('keys', user), 0
for _, row in ipairs(rows or redis.call('HKEYS', keys)) do
    local held = redis.call('HGET', keys, row)
    if held then
        count = count + 1
        if #held == 1 or (held:byte() == 50 and #held == 17) then redis.call('HSET', notes, 'littered', 1) end
        redis.call('HDEL', keys, row)
        redis.call('ZREM', name('places', user), row)
        redis.call('SREM', unsettled, user .. '\\0' .. row)
    end
end
if redis.call('EXISTS', keys) == 0 then redis.call('ZREM', users, user) end
if count > 0 then tell({user}) end
return count
"""
)

# batch: user, rows or nothing. Answers the rows, where they were not given, and what each has.
READ: Final = (
    _HEAD
    + """
local user, rows = batch[1], batch[2]
local keys = name('keys', user)
local asked = rows or redis.call('HKEYS', keys)
if #asked == 0 then return {cmsgpack.pack({}), ''} end
local values = {}
for start = 1, #asked, 1000 do
    local some = redis.call('HMGET', keys, unpack(asked, start, math.min(start + 999, #asked)))
    for i = 1, #some do values[#values + 1] = some[i] end
end
return {rows and '' or cmsgpack.pack(asked), frame(values)}
"""
)

# batch: row, users
READ_ROW: Final = (
    _HEAD
    + """
local values = {}
for i, user in ipairs(batch[2]) do values[i] = redis.call('HGET', name('keys', user), batch[1]) end
return frame(values)
"""
)

# batch: row, after whom, how many. Answers users and what each has.
PAGE: Final = (
    _HEAD
    + """
local row, after, limit = batch[1], batch[2], batch[3]
local names, values = {}, {}
while true do
    local some = redis.call('ZRANGEBYLEX', users, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)
    for _, user in ipairs(some) do
        local value = redis.call('HGET', name('keys', user), row)
        if value and #names < limit then
            names[#names + 1], values[#values + 1] = user, value
        end
        after = user
    end
    if #some < limit or #names >= limit then return {cmsgpack.pack(names), frame(values)} end
end
"""
)

# batch: user. Answers rows in their order.
LIST: Final = _HEAD + "return cmsgpack.pack(redis.call('ZRANGE', name('places', batch), 0, -1))"

UNSETTLED: Final = _HEAD + "return cmsgpack.pack(redis.call('SMEMBERS', unsettled))"

# batch: (user, row, place), …
REGISTER: Final = (
    _HEAD
    + """
for _, one in ipairs(batch) do
    if redis.call('HSETNX', name('keys', one[1]), one[2], '1') == 1 then
        redis.call('ZADD', users, 0, one[1])
        redis.call('ZADD', name('places', one[1]), one[3], one[2])
    end
end
"""
)

# batch: user, when, ids of memories or nothing for all; and digests. The hash has dates by "m" and the id, and by "u".
BURY: Final = (
    _HEAD
    + """
local user, at = batch[1], batch[2]
local function note(field)
    local known = redis.call('HGET', name('erased', user), field)
    if not known or tonumber(known) < tonumber(at) then redis.call('HSET', name('erased', user), field, at) end
end
if batch[3] then
    for _, id in ipairs(batch[3]) do note('m' .. id) end
else
    note('u')
end
for at = 1, #binary, 8 do redis.call('SADD', name('texts', user), binary:sub(at, at + 7)) end
"""
)

# batch: users. Answers for each whether it is off, fields and dates of the hash, and the digests.
STANDING: Final = (
    _HEAD
    + """
local found = {}
for i, user in ipairs(batch) do
    found[i] = {
        redis.call('SISMEMBER', off, user),
        redis.call('HGETALL', name('erased', user)),
        table.concat(redis.call('SMEMBERS', name('texts', user))),
    }
end
return found
"""
)

# batch: user, off
SWITCH: Final = (
    _HEAD
    + """
local changed = redis.call(batch[2] and 'SADD' or 'SREM', off, batch[1])
if changed > 0 then tell({batch[1]}) end
"""
)

# batch: user
IS_OFF: Final = _HEAD + "return redis.call('SISMEMBER', off, batch)"

NOTED: Final = _HEAD + "return redis.call('HEXISTS', notes, batch)"

# batch: name, whether it is so
NOTE: Final = (
    _HEAD
    + """
if batch[2] then redis.call('HSET', notes, batch[1], 1) else redis.call('HDEL', notes, batch[1]) end
"""
)

# batch: users. Answers how many rows they have that the store has.
COUNT: Final = (
    _HEAD
    + """
local count = 0
for _, user in ipairs(batch) do count = count + redis.call('ZCARD', name('places', user)) end
return count
"""
)

VERSION: Final = _HEAD + "return version"

# batch: the version from now on.
STAMP: Final = _HEAD + "if batch > tonumber(version) then redis.call('SET', KEYS[7], batch) end"

EMBEDDING: Final = _HEAD + "return redis.call('GET', KEYS[8]) or ''"

# batch: what is noted, '' for nothing, and what is to be. Answers whether it is.
CHANGE_EMBEDDING: Final = (
    _HEAD
    + """
if (redis.call('GET', KEYS[8]) or '') ~= batch[1] then return 0 end
redis.call('SET', KEYS[8], batch[2])
redis.call('PUBLISH', channel, cmsgpack.pack({'embedding'}))
return 1
"""
)
