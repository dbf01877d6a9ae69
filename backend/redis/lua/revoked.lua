#!lua flags=allow-oom
-- library: base
-- Returns the leases of a worker that were lost because their tasks were cancelled, and would not have ended by now. With A.take it takes
-- those away, and returns which of them were there.
local key = P .. 'v:' .. A.worker
if not A.take then
  return redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', now), '+inf')
end
local taken = {}
for _, member in ipairs(A.take) do
  if redis.call('ZREM', key, member) == 1 then
    taken[#taken + 1] = member
  end
end
return taken
