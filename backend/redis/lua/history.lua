#!lua flags=no-writes
-- library: base
-- Returns what was done in some minutes, and the first minute after them.
local list = {}
local minute = math.floor((A.minute or now - A.last) / 60000000)
local current = math.floor(now / 60000000)
local stop = math.min(minute + 59, current)
while minute <= stop do
  local found = redis.call('HGETALL', P .. 'h:' .. string.format('%.0f', minute))
  if #found > 0 then
    list[#list + 1] = { minute, found }
  end
  minute = minute + 1
end
return { minute <= current and minute * 60000000 or -1, list }
