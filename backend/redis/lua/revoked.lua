#!lua flags=allow-oom
-- library: base
-- Returns the leases of a worker that were lost because their tasks were cancelled, and would not have ended by now.
local key = P .. 'v:' .. A.worker
local list = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', now), '+inf')
redis.call('DEL', key)
return list
