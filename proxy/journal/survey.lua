-- How much waits in each part: entries to be stored, how many of those back off, to be extracted from, and parked;
-- the oldest entry to be stored, and the last that was appended.
--
-- KEYS: of each part its stream, its queue, what backs off, what is to be extracted from, and what is parked.
-- ARGV: the time.

local rows = {}
for i = 1, #KEYS, 5 do
  local last = '0-0'
  local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
  for j = 1, #info, 2 do
    if info[j] == 'last-generated-id' then last = info[j + 1] end
  end
  rows[#rows + 1] = {
    redis.call('ZCARD', KEYS[i + 1]),
    redis.call('ZCOUNT', KEYS[i + 2], '(' .. ARGV[1], '+inf'),
    redis.call('ZCARD', KEYS[i + 3]),
    redis.call('ZCARD', KEYS[i + 4]),
    redis.call('ZRANGE', KEYS[i + 1], 0, 0)[1] or '',
    last,
  }
end
return rows
