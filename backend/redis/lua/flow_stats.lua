#!lua flags=allow-oom
-- library: core
-- Tells how many members of a flow are in each state.
advance()
flush()
if redis.call('EXISTS', P .. 'w:' .. A.flow) == 0 then
  return false
end
return redis.call('HGETALL', P .. 'wn:' .. A.flow)
