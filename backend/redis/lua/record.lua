#!lua
-- library: core
-- Keeps results of tasks that another engine queues.
local answers = each(A.results, function(r)
  local t = task(r.id)
  if t then
    return { final(t) and 'recorded' or 'queued' }
  end
  t = setmetatable({ id = r.id, queue = 'default', attempt = r.attempt, recorded = true, size = r.size, seq = number() }, with_defaults)
  heads[t.id], removed[t.id] = t, nil
  become(t, r.status)
  set(P .. 'r:' .. t.id, r.result)
  publish('r:' .. t.id, { id = t.id, seq = t.seq, status = r.status, since = now, attempt = r.attempt, result = r.result })
  if r.keep then
    if r.keep > 0 then
      goes(t, now + r.keep)
    else
      over(t)
    end
  end
end)
flush()
return answers
