#!lua flags=allow-oom
-- library: core
-- Does what happens by itself, or a part of it, and tells whether a part is left, how soon the next comes, and whether jobs are left.
local more, also = advance()
flush()
local next_at
for _, key in ipairs({ P .. 'c', P .. 'g' }) do
  local at = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  if at and (not next_at or at < next_at) then
    next_at = at
  end
end
if A.events then
  trim(AT_ONCE)
end
local jobs = redis.call('EXISTS', P .. 'j')
local left = more or also or jobs == 1
return { left and 1 or 0, next_at and math.max(next_at - now, 0) or -1, jobs }
