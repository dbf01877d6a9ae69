#!lua
-- library: base
-- Keeps the tasks of a queue from being leased.
redis.call('SADD', P .. 'p', A.queue)
return 0
