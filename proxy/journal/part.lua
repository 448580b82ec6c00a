-- What a keeper does to one part of the journal, each time all of it or nothing.
--
-- The stream has the order, and whose an entry is. What was said is beside it, in a hash: there it can be taken out and
-- written anew, while what is deleted from a stream stays in its pages until all of a page is.
--
-- An entry is to be stored ("queued": handed out, which the consumer group knows, backing off, or new), to be extracted
-- from ("learning"), or parked ("failed"). What backs off and what is to be extracted from lies in a pair of sorted sets:
-- by when it is due, and by user and place. Nothing in a pair is due before an earlier entry of its user: what is due
-- first is what may be taken first.
--
-- KEYS: see proxy/journal/keys.py. ARGV: the operation, the token of the turn that it is done under ('' for none), its own.

local stream, said, states, queued = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local waiting, learning = { KEYS[5], KEYS[6] }, { KEYS[7], KEYS[8] }
local failed, bytes, turn, lease = KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local GROUP = 'keepers'

if ARGV[2] ~= '' and redis.call('GET', turn) ~= ARGV[2] then
  return redis.error_reply('LOST the turn has gone to another keeper')
end

local function pad(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 15 - #ms) .. ms .. '-' .. string.rep('0', 20 - #number) .. number
end

local function id_of(member)
  local ms, number = string.match(member, ':0*(%d+)%-0*(%d+)$')
  return ms .. '-' .. number
end

local function find_user(id)
  local found = redis.call('XRANGE', stream, id, id)[1]
  return found and found[2][2]
end

local function find_member(id)
  local user = find_user(id)
  return user and user .. ':' .. pad(id)
end

local function load(id)
  local packed = redis.call('HGET', states, id)
  return packed and cmsgpack.unpack(packed) or { stage = 0, attempts = 0, reason = '', kind = '' }
end

local function save(id, state)
  redis.call('HSET', states, id, cmsgpack.pack(state))
end

local function last_before(pair, user, member)
  return redis.call('ZREVRANGEBYLEX', pair[2], '(' .. member, '[' .. user .. ':', 'LIMIT', 0, 1)[1]
end

local function put(pair, member, due)
  local user = string.match(member, '^[^:]*')
  local earlier = last_before(pair, user, member)
  if earlier then due = math.max(due, tonumber(redis.call('ZSCORE', pair[1], earlier))) end
  redis.call('ZADD', pair[1], due, member)
  redis.call('ZADD', pair[2], 0, member)
  local later = member
  while true do
    later = redis.call('ZRANGEBYLEX', pair[2], '(' .. later, '(' .. user .. ';', 'LIMIT', 0, 1)[1]
    if not later or tonumber(redis.call('ZSCORE', pair[1], later)) >= due then return end
    redis.call('ZADD', pair[1], due, later)
  end
end

local function remove(pair, member)
  redis.call('ZREM', pair[1], member)
  redis.call('ZREM', pair[2], member)
end

local function is_in(set, member)
  return redis.call('ZSCORE', set, member) ~= false
end

local function queue(id)
  redis.call('ZADD', queued, string.match(id, '^%d+'), id)
end

local function delete(id)
  local member = find_member(id)
  if not member then return 0 end
  redis.call('XACK', stream, GROUP, id)
  redis.call('XDEL', stream, id)
  redis.call('DECRBY', bytes, redis.call('HSTRLEN', said, id))
  redis.call('HDEL', said, id)
  redis.call('HDEL', states, id)
  redis.call('ZREM', queued, id)
  redis.call('ZREM', failed, id)
  remove(waiting, member)
  remove(learning, member)
  return 1
end

local function describe(id, user, taken)
  return { id, user, redis.call('HGET', said, id), load(id).attempts, taken }
end

-- What a keeper that ended, or this one, had taken and not settled. Under the turn nobody else can have it.
local function claim(consumer, limit)
  local claimed = redis.pcall('XAUTOCLAIM', stream, GROUP, consumer, 0, '0-0', 'COUNT', limit)
  if claimed.err then
    if not string.find(claimed.err, 'NOGROUP', 1, true) then error(claimed.err) end
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    return {}
  end
  local found = {}
  for _, entry in ipairs(claimed[2]) do
    if entry then
      local times = redis.call('XPENDING', stream, GROUP, entry[1], entry[1], 1)[1][4]
      found[#found + 1] = { id = entry[1], user = entry[2][2], taken = times - 1 }
    end
  end
  return found
end

local function take_due(consumer, limit, now)
  local found = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', waiting[1], '-inf', now, 'LIMIT', 0, limit)) do
    local id = id_of(member)
    remove(waiting, member)
    redis.call('XCLAIM', stream, GROUP, consumer, 0, id, 'RETRYCOUNT', 1, 'FORCE')
    found[#found + 1] = { id = id, user = string.match(member, '^[^:]*'), taken = 0 }
  end
  return found
end

-- A group that had to be made anew, on a Redis that had lost it, is given everything once more.
local function is_new(id, user)
  return is_in(queued, id) and not is_in(waiting[1], user .. ':' .. pad(id))
end

-- *due*: what has been taken just now, and may be among that.
local function take_new(consumer, limit, due)
  local known = {}
  for _, one in ipairs(due) do
    known[one.id] = true
  end
  local found, read = {}, 0
  repeat
    local rest = limit - #found
    local answer = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', rest, 'STREAMS', stream, '>')
    local page = answer and answer[1][2] or {}
    for _, entry in ipairs(page) do
      if is_new(entry[1], entry[2][2]) and not known[entry[1]] then
        found[#found + 1] = { id = entry[1], user = entry[2][2], taken = 0 }
      elseif not known[entry[1]] then
        redis.call('XACK', stream, GROUP, entry[1])
      end
    end
    read = read + #page
  until #page == 0 or #found == limit
  return found, read
end

local operations = {}

-- Answers whether there may be more, and the entries.
function operations.take(consumer, limit, now)
  limit = tonumber(limit)
  local claimed = claim(consumer, limit)
  local due = limit > #claimed and take_due(consumer, limit - #claimed, now) or {}
  local rest = limit - #claimed - #due
  local new, read = {}, 0
  if rest > 0 then new, read = take_new(consumer, rest, due) end
  -- What is due is not among what waits any more: whatever of a user is still there is not in this batch.
  local handed = #claimed + #due + read
  local taken, blocked = due, redis.call('ZCARD', waiting[1]) > 0
  for _, some in ipairs({ claimed, new }) do
    for _, one in ipairs(some) do
      local member = one.user .. ':' .. pad(one.id)
      if blocked and last_before(waiting, one.user, member) then
        redis.call('XACK', stream, GROUP, one.id)
        put(waiting, member, 0)
      else
        taken[#taken + 1] = one
      end
    end
  end
  table.sort(taken, function(one, other) return pad(one.id) < pad(other.id) end)
  local entries = {}
  for i, one in ipairs(taken) do
    entries[i] = describe(one.id, one.user, one.taken)
  end
  return { handed, entries }
end

function operations.put_back(consumer, ...)
  for _, id in ipairs({ ... }) do
    local handed = redis.call('XPENDING', stream, GROUP, id, id, 1)[1]
    if handed then
      redis.call('XCLAIM', stream, GROUP, consumer, 0, id, 'RETRYCOUNT', math.max(handed[4] - 1, 0), 'JUSTID')
    end
  end
end

-- Forgets keepers that have been gone for so long and left nothing behind.
function operations.tidy(idle_ms)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, GROUP)
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local about = {}
    for i = 1, #consumer, 2 do
      about[consumer[i]] = consumer[i + 1]
    end
    if about.pending == 0 and about.idle > tonumber(idle_ms) then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, about.name)
    end
  end
end

-- For one keeper at a time, until it says that it has done or its lease ends.
function operations.take_user(token, lease_ms, user, limit)
  if not redis.call('SET', lease, token, 'NX', 'PX', lease_ms) and redis.call('GET', lease) ~= token then return {} end
  local entries = {}
  local members = redis.call('ZRANGEBYLEX', learning[2], '[' .. user .. ':', '(' .. user .. ';', 'LIMIT', 0, limit)
  for i, member in ipairs(members) do
    entries[i] = describe(id_of(member), user, 0)
  end
  if #entries == 0 then redis.call('DEL', lease) end
  return entries
end

function operations.done(...)
  local count = 0
  for _, id in ipairs({ ... }) do
    count = count + delete(id)
  end
  return count
end

function operations.advance(due, ...)
  for _, id in ipairs({ ... }) do
    local member = find_member(id)
    if member and redis.call('ZREM', queued, id) == 1 then
      redis.call('XACK', stream, GROUP, id)
      remove(waiting, member)
      save(id, { stage = 1, attempts = 0, reason = '', kind = '' })
      put(learning, member, tonumber(due))
    end
  end
end

function operations.postpone(counted, reason, due, ...)
  for _, id in ipairs({ ... }) do
    local member, state = find_member(id), load(id)
    local pair = state.stage == 0 and waiting or learning
    if member and (is_in(queued, id) or is_in(learning[1], member)) then
      redis.call('XACK', stream, GROUP, id)
      state.attempts, state.reason = state.attempts + tonumber(counted), reason
      save(id, state)
      put(pair, member, tonumber(due))
    end
  end
end

function operations.park(counted, reason, kind, ...)
  for _, id in ipairs({ ... }) do
    local member, state = find_member(id), load(id)
    if member then
      redis.call('XACK', stream, GROUP, id)
      redis.call('ZREM', queued, id)
      remove(waiting, member)
      remove(learning, member)
      redis.call('ZADD', failed, string.match(id, '^%d+'), id)
      state.attempts, state.reason, state.kind = state.attempts + tonumber(counted), reason, kind
      save(id, state)
    end
  end
end

-- With an empty *kind*, of every kind.
function operations.release(kind)
  local count = 0
  for _, id in ipairs(redis.call('ZRANGE', failed, 0, -1)) do
    local member, state = find_member(id), load(id)
    if kind == '' or state.kind == kind then
      redis.call('ZREM', failed, id)
      state.attempts, state.kind = 0, ''
      save(id, state)
      if state.stage == 0 then queue(id) end
      put(state.stage == 0 and waiting or learning, member, 0)
      count = count + 1
    end
  end
  return count
end

function operations.drop_failed()
  local count = 0
  for _, id in ipairs(redis.call('ZRANGE', failed, 0, -1)) do
    count = count + delete(id)
  end
  return count
end

function operations.hasten()
  local count = 0
  for _, set in ipairs({ waiting[1], learning[1] }) do
    count = count + redis.call('ZCOUNT', set, '(0', '+inf')
    redis.call('ZUNIONSTORE', set, 1, set, 'WEIGHTS', 0)
  end
  return count
end

-- How many entries up to *last* are to be stored, or with *extracting* "1" to be extracted from.
function operations.unsettled(last, extracting)
  local count = redis.call('ZCOUNT', queued, '-inf', string.match(last, '^%d+'))
  if extracting == '1' then
    local place = pad(last)
    for _, member in ipairs(redis.call('ZRANGE', learning[2], 0, -1)) do
      if string.match(member, ':(.*)$') <= place then count = count + 1 end
    end
  end
  return count
end

function operations.failed(limit)
  local rows = {}
  for i, id in ipairs(redis.call('ZRANGE', failed, 0, tonumber(limit) - 1)) do
    rows[i] = { id, redis.call('HGET', said, id), redis.call('HGET', states, id) }
  end
  return rows
end

-- A page of the stream: where the next one begins, '' behind the last, and the user's entries in it.
function operations.list_user(user, from, size)
  local page, rows = redis.call('XRANGE', stream, from, '+', 'COUNT', size), {}
  for _, entry in ipairs(page) do
    if entry[2][2] == user then rows[#rows + 1] = { entry[1], redis.call('HGET', said, entry[1]) } end
  end
  return { #page < tonumber(size) and '' or '(' .. page[#page][1], rows }
end

-- ARGV: pairs of an entry and what it says from now on, '' for those that are deleted.
function operations.amend(...)
  local changes = { ... }
  for i = 1, #changes, 2 do
    local id, value = changes[i], changes[i + 1]
    if value == '' then
      delete(id)
    elseif redis.call('HEXISTS', said, id) == 1 then
      redis.call('INCRBY', bytes, #value - redis.call('HSTRLEN', said, id))
      redis.call('HSET', said, id, value)
    end
  end
end

local operation = operations[ARGV[1]]
return operation(unpack(ARGV, 3))
