#!lua flags=allow-oom
-- library: core plan note
-- Ends leases. It goes on while the server has no memory left: what ends is what frees some.

-- give_back ends a lease without ending its task.
local function give_back(t, s)
  if s.action == RETRY then
    if not t.started then
      t.attempt = t.attempt + 1
    end
    if s.error then
      t.failed = true
      set(P .. 'f:' .. t.id, s.error)
    elseif t.failed then
      t.failed = nil
      set(P .. 'f:' .. t.id, false)
    end
    note_event(t, RETRIED, t.attempt, t.worker, s.error)
  elseif t.started then
    t.attempt = t.attempt - 1
  end
  if s.action ~= DEFER then
    t.shunned = nil
  elseif not t.shunned then
    t.shunned = now
  end
  local delay = s.delay or 0
  if delay > 0 or s.action ~= RELEASE then
    t.due = now + delay
  end
  pend(t)
end

-- conclude ends a lease as its action says.
local function conclude(t, s)
  hold_back(t, s.hold)
  if s.action == FINISH or s.action == RETRY then
    tally(t, RAN, s.took or 0)
  end
  if s.action == FINISH then
    finish(t, s)
  else
    give_back(t, s)
  end
end

-- hand_over makes a task wait for others that was handed out.
local function hand_over(t, after, p)
  if t.started then
    t.attempt = t.attempt - 1
  end
  -- Those of before, if it has handed over once more already, are let go of when the new ones are known.
  local was = t.after and { edges(t, 'a'), t.holds_after }
  if was then
    local kept = {}
    for _, d in ipairs(after) do
      kept[stands_for(p, d.id)] = true
    end
    for _, d in ipairs(was[1]) do
      if was[2] and d.input then
        if kept[d.id] and heads[d.id] then
          heads[d.id].wanted = heads[d.id].wanted + 1 -- so that it is not let go of meanwhile
        end
      end
    end
    leave(t)
    add_edges(t, after, 'a', function(id) return stands_for(p, id) end)
    for _, d in ipairs(was[1]) do
      if was[2] and d.input and kept[d.id] then
        unwant(d.id)
      end
    end
  else
    add_edges(t, after, 'a', function(id) return stands_for(p, id) end)
  end
  t.resumed, t.ends, t.due, t.shunned, t.token, t.started = true, nil, now, nil, nil, nil
  waits(t, await(t))
end

-- circle returns one of the tasks that another is to wait for, and that waits for it: nil if there is no such.
local function circle(p, t, after)
  for _, d in ipairs(after) do
    local id = stands_for(p, d.id)
    local own, other = p.tasks[id], head(id)
    if own and own.behind == t.id or other and not final(other) and redis.call('HEXISTS', P .. 'o:' .. id, t.id) == 1 then
      return id
    end
  end
end

-- settle ends a lease. It returns why it cannot, because of effects that cannot be: nothing is changed then.
local function settle(t, s)
  local effects = s.effects
  if not effects then
    conclude(t, s)
    return nil
  end
  prefetch(effects.enqueue)
  local p = new_plan()
  p.ending[t.id] = s.action
  p.grows = t.flow
  local answers, impossible = plan_all(p, effects.enqueue)
  p.grows = nil
  impossible = impossible or check(p, t.id, effects.after)
  if impossible then
    return { 'invalid', impossible }
  end
  local id = circle(p, t, effects.after)
  if id then
    return { 'circle', t.id, id }
  end
  for _, other in ipairs(effects.cancel) do
    p.lost[other] = true
  end
  pin(p)
  keep_notes(t, effects.notes)
  if A.events then
    for _, e in ipairs(effects.events) do
      add_event({ id = e.id, json = e.json })
    end
  end
  if s.action ~= WAIT then
    conclude(t, s)
  end
  for i, n in ipairs(effects.enqueue) do
    if admitted(answers[i]) then
      add(n, p)
    end
  end
  if s.action == WAIT then
    hold_back(t, s.hold)
    hand_over(t, effects.after, p)
  end
  for _, cancelled in ipairs(effects.cancel) do
    local other = task(cancelled)
    if other and not final(other) then
      cancel(other)
    end
  end
  unpin(p)
  return nil
end

local ids = {}
for i, s in ipairs(A.settlements) do
  ids[i] = s.id
end
load(ids)
local answers = each(A.settlements, function(s)
  local t = leased(s.id, s.token)
  if not t then
    return { 'lost' }
  elseif s.refused then
    return { 'refused' }
  end
  return settle(t, s)
end)
flush()
return answers
