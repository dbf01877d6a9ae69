#!lua flags=no-writes
-- library: base
-- Returns the workers that are there.
local ids = redis.call('ZRANGEBYSCORE', P .. 'ks', string.format('(%.0f', now), '+inf')
local list = {}
for i, id in ipairs(ids) do
  list[i] = { id, redis.call('HGET', P .. 'k', id) }
end
return list
