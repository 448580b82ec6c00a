-- Appends exchanges, in order, as many as there is room for; answers how many.
--
-- KEYS: the bytes of all that waits; then of each part that is concerned: its stream, what was said, its queue.
-- ARGV: how many bytes may wait; then of each exchange the number of its part among KEYS (from 0), its user, and it.

local bytes = tonumber(redis.call('GET', KEYS[1]) or '0')
local most = tonumber(ARGV[1])
local appended, size = 0, 0

for i = 2, #ARGV, 3 do
  local part = 2 + 3 * tonumber(ARGV[i])
  if bytes + size + #ARGV[i + 2] > most then break end
  local id = redis.call('XADD', KEYS[part], '*', 'user', ARGV[i + 1])
  redis.call('HSET', KEYS[part + 1], id, ARGV[i + 2])
  redis.call('ZADD', KEYS[part + 2], string.match(id, '^%d+'), id)
  size = size + #ARGV[i + 2]
  appended = appended + 1
end

if size > 0 then redis.call('INCRBY', KEYS[1], size) end
return appended
