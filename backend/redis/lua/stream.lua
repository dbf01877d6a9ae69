#!lua flags=allow-oom
-- library: core
-- Returns items of a stream of a task after a number.
local t = task(A.id)
flush()
if not t then
  return false
end
local list = redis.call('XRANGE', P .. 's:' .. A.id .. A.name, string.format('(%.0f', A.after) .. '-0', '+', 'COUNT', A.max + 1)
local items, next_number, ended = {}, A.after, final(t)
for i, entry in ipairs(list) do
  if i > A.max then
    ended = false
    break
  end
  items[i], next_number = entry[2][2], tonumber(entry[1]:match('^%d+'))
end
return { items, next_number, ended and 1 or 0 }
