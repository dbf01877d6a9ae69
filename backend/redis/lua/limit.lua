#!lua flags=allow-oom
-- library: core
-- Gives a queue another limit, and arranges its lanes by it, some of them: the program calls again for the others. Until then none of
-- them is handed out over the limit, because who leases looks at it.
local q = queue(A.queue)
if A.cursor == '0' then
  local was = q.limit
  q.limit = A.limit
  if q.limit then
    q.limit.at, q.limit.version = now, number()
    q.used = q.limit.every > 0 and math.min(q.used, now + q.limit.every * q.limit.burst) or 0
  else
    q.used = 0
  end
  touch_queue(q)
  seen_queues[A.queue] = true
end
local cursor = '0'
if q.lanes > 0 then
  local found = redis.call('HSCAN', P .. 'L:' .. A.queue, A.cursor, 'COUNT', AT_ONCE)
  cursor = found[1]
  for i = 1, #found[2], 2 do
    local l = q.lanes > 0 and lane(q, found[2][i])
    if l then
      if not q.limit then
        l.used, l.version = 0, nil
      end
      arrange(q, l)
    end
  end
end
publish('q:' .. A.queue)
flush()
return cursor
