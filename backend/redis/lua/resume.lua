#!lua flags=allow-oom
-- library: base
-- Ends what pause has begun.
if redis.call('SREM', P .. 'p', A.queue) == 1 then
  publish('q:' .. A.queue)
  tell_topics()
end
return 0
