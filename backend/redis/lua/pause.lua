#!lua
-- library: base
-- Keeps the tasks of a queue from being leased.
redis.call('SADD', P .. 'p', A.queue)
redis.call('SADD', P .. 'qs', A.queue) -- of which Stats tells
return 0
