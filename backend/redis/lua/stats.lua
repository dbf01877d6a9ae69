#!lua flags=allow-oom
-- library: core
-- Tells figures of queues, some of them: the program calls again with the cursor, and may find one twice. It looks at one ready task of each
-- priority, and at so many lanes of a queue at the most.
local MAX_LANES = 200
if A.cursor == '0' then
  advance()
  flush()
end
local found = redis.call('SSCAN', P .. 'qs', A.cursor, 'COUNT', AT_ONCE)

-- oldest is when the ready task became due that has waited longest.
local function oldest(key, first)
  local member = redis.call('ZRANGE', key, 0, 0)[1]
  while member do
    local high, low = struct.unpack('>I4I4', member, 9)
    local due = (high - 2147483648) * 4294967296 + low
    if not first or due < first then
      first = due
    end
    member = redis.call('ZRANGEBYLEX', key, '(' .. member:sub(1, 8) .. ('\255'):rep(31), '+', 'LIMIT', 0, 1)[1]
  end
  return first
end

local stats = {}
for _, name in ipairs(found[2]) do
  local q, paused = queue(name), redis.call('SISMEMBER', P .. 'p', name) == 1
  local counts, all = {}, 0
  for status = PENDING, WAITING do
    counts[status] = redis.call('ZCARD', list_key(status, name))
    all = all + counts[status]
  end
  if all > 0 or paused or q.limit then
    local first = oldest(ready_key(q, ''))
    if q.lanes > 0 and q.ready > 0 then
      for _, key in ipairs({ P .. 'T:' .. name, P .. 'R:' .. name }) do
        for _, lane_name in ipairs(redis.call('ZRANGE', key, 0, MAX_LANES - 1)) do
          if lane_name ~= '' then
            first = oldest(ready_key(q, lane_name), first)
          end
        end
      end
    end
    stats[#stats + 1] = { name, paused and 1 or 0, ready_count(q), counts, first and math.max(now - first, 0) or 0, q.active,
      q.limit and cmsgpack.pack(q.limit) or false }
  else
    redis.call('SREM', P .. 'qs', name)
  end
end
return { found[1], stats }
