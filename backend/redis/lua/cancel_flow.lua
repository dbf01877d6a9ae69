#!lua flags=allow-oom
-- library: core
-- Ends members of a flow that are not final, some of those after a number. Members that come meanwhile have higher ones.
local key = P .. 'w:' .. A.flow
zflush(key)
if redis.call('EXISTS', key) == 0 then
  return { 'not found' }
end
local list = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', A.after), '+inf', 'WITHSCORES', 'LIMIT', 0, AT_ONCE)
local ids, last, n = {}, A.after, 0
for i = 1, #list, 2 do
  ids[#ids + 1] = list[i]
  last = tonumber(list[i + 1])
end
load(ids)
for _, id in ipairs(ids) do
  local t = task(id)
  if t and not final(t) then
    cancel(t)
    n = n + 1
  end
end
flush()
return { 'done', n, last, #ids == AT_ONCE and 1 or 0 }
