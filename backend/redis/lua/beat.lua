#!lua flags=allow-oom
-- library: base
-- Notes that a worker is there, and forgets those that were silent for too long.
local silent = redis.call('ZRANGEBYSCORE', P .. 'ks', '-inf', now)
bulk('ZREM', P .. 'ks', silent)
bulk('HDEL', P .. 'k', silent)
if A.lease == 0 then
  redis.call('ZREM', P .. 'ks', A.id)
  redis.call('HDEL', P .. 'k', A.id)
  return 0
end
redis.call('ZADD', P .. 'ks', now + A.lease, A.id)
redis.call('HSET', P .. 'k', A.id, cmsgpack.pack({ seen = now, json = A.json }))
return 0
