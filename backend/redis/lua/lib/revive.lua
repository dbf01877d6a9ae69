-- Other lives of tasks that have ended without success. What a script is asked for it revives at once, and a part of what follows from
-- that; what is left is a job: see work.

local begins, leads, unmet, obstacle, reset

do -- not indented: it is the rest of the file. See base
local P, now, heads, head, change, set, zflush = P, now, heads, head, change, set, zflush

-- begins begins a life of a task, with its end set.
function begins(t)
  if t.unique then
    take_key(unique_key(t.name, t.unique), t.id, t.unique_for)
  end
  if t.id_for > 0 then
    take_key(id_key(t.id), t.id, t.id_for)
  end
  t.seq, t.due = number(), t.run_at or now + t.delay
  note_event(t, ENQUEUED, 0)
  if t.own then
    waits(t, await(t))
  elseif t.manual then
    stay(t)
  else
    pend(t)
  end
end

-- leads tells whether an edge of a task to another one is an input, and how many need success, by the kind of the edges.
function leads(t, kind, id)
  local found = { success = 0 }
  for _, d in ipairs(edges(t, kind)) do
    if d.id == id then
      found.input = found.input or d.input
      found.success = found.success + (d.need == SUCCESS_NEEDED and 1 or 0)
    end
  end
  return found
end

-- unmet counts what a task needs and has ended otherwise, but for those of again. It returns the first of these, too, and how it ended.
function unmet(t, again)
  local n, first, how = 0, nil, nil
  if t.own then
    for _, d in ipairs(edges(t, 'o')) do
      local e = ending(d.id)
      if e and not met(d.need, e.status) and again[d.id] == nil then
        if n == 0 then
          first, how = d.id, e
        end
        n = n + 1
      end
    end
  end
  return n, first, how
end

-- user is a task that has not ended and goes on with this one's result: nil for none.
local function user(t)
  if t.wanted == 0 then
    return nil
  end
  local key = P .. 'b:' .. t.id
  zflush(key)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local f, kind = head(member:sub(1, 16)), member:sub(17, 17)
    if f and (kind == 'a') == (f.resumed == true) and f[kind == 'o' and 'holds_own' or 'holds_after'] and not final(f)
      and redis.call('HEXISTS', P .. 'o:' .. f.id, t.id) == 0 and leads(f, kind, t.id).input then
      return f
    end
  end
end

-- obstacle is why a task cannot be revived that needs nothing which has ended otherwise. Keys are those that others of the call take.
function obstacle(t, keys)
  local f = user(t)
  if f then
    return { 'used', f.id, f.status }
  end
  if t.unique then
    local key = unique_key(t.name, t.unique)
    local other = keys[key] or holder(key)
    if other and other ~= t.id then
      return { 'duplicate', other, 0 }
    end
    keys[key] = t.id
  end
end

-- reset ends what a task has come to.
function reset(t)
  goes_not(t)
  set(P .. 'r:' .. t.id, false)
  t.why, t.size, t.attempt, t.lost, t.shunned, t.worker = nil, nil, nil, nil, nil, nil
  if t.notes then
    lapse_notes(t, { state = true, last = true })
  end
  leave(t)
  t.open, t.resumed, t.blocked, t.kept_over = nil, nil, nil, nil
  t.ends = t.ttl and now + t.ttl or nil
  t.run_at, t.delay, t.requeued = nil, nil, now
  change(t)
end

-- some_followers are followers of a task after a number, at most so many, as members and their numbers.
function some_followers(id, from, upto, most)
  local key = P .. 'b:' .. id
  zflush(key)
  local list = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', from), upto and string.format('%.0f', upto) or '+inf', 'WITHSCORES',
    'LIMIT', 0, most)
  local ids = {}
  for i = 1, #list, 2 do
    ids[#ids + 1] = list[i]:sub(1, 16)
  end
  load(ids)
  return list
end

-- revive_some revives followers of a task that was, as far as they ended because of it and need nothing else. It returns as tell_some does.
function revive_some(job, most)
  local list = some_followers(job.revive, job.from, job.upto, most)
  for i = 1, #list, 2 do
    job.from = tonumber(list[i + 1])
    local f = task(list[i]:sub(1, 16))
    if f and final(f) and f.blocked and leads(f, list[i]:sub(17, 17), job.revive).success > 0 and unmet(f, {}) == 0 and not obstacle(f, {}) then
      reset(f)
      begins(f)
      revive_later(f, 0)
    end
  end
  return #list / 2, #list / 2 < most
end

end
