-- What a call is about to store. It is planned whole before anything of it is done: with an error nothing is.

local new_plan, known, held, admitted, before, stands_for, check, plan_all, pin, unpin, add, prefetch, enqueue

do -- not indented: it is the rest of the file. See base
local P, now, heads, change, zset, set, head, task, holder, unique_key = P, now, heads, change, zset, set, head, task, holder, unique_key

function new_plan() return { ending = {}, lost = {}, tasks = {}, holders = {}, keys = {}, flows = {} } end

local function planned(p, id)
  local own = p.tasks[id]
  if not own then
    own = {}
    p.tasks[id] = own
  end
  return own
end

-- under_way reports whether an attempt of a task goes on, if only by waiting for those to which it has handed over.
local function under_way(p, t)
  local action = p and p.ending[t.id]
  if action then
    return action ~= FINISH and (t.resumed or action == WAIT) or false
  end
  return t.resumed or t.status == RUNNING
end

-- known reports whether something has the ID of a task.
function known(n)
  if task(n.id) then
    return true
  end
  return (n.id_for or 0) > 0 and holder(id_key(n.id)) ~= nil
end

-- held is what a task is told whose unique key is held: nil if it can have the key.
function held(n, p)
  local id, till = holder(unique_key(n.name, n.unique))
  if not id then
    return nil
  end
  local ends = p and p.ending[id] == FINISH
  if not ends and n.on_held == REFUSE or till ~= 0 then
    return { 'duplicate', id, 0 }
  end
  local t = heads[id]
  if ends or p and p.lost[id] or under_way(p, t) then
    return nil
  end
  return { 'duplicate', id, t.tied and 0 or 1 }
end

-- conflict is that something has the ID or the unique key of a task.
local function conflict(n, p)
  if p and p.tasks[n.id] and p.tasks[n.id].added or known(n) then
    return { 'duplicate', n.id, 0 }
  end
  if not n.unique then
    return nil
  end
  local taken = p and p.keys[unique_key(n.name, n.unique)]
  if taken then
    return { 'duplicate', taken, n.on_held ~= REFUSE and not p.tasks[taken].fixed and 1 or 0 }
  end
  return held(n, p)
end

-- admitted reports whether a task is to be added of which conflict has said this: it may take the place of another.
function admitted(answer) return not answer or answer[1] == 'duplicate' and answer[3] == 1 end

-- before returns the task that has the unique key of one that takes its place or the key: nil for none.
function before(n)
  if n.on_held == REFUSE then
    return nil
  end
  local id = holder(unique_key(n.name, n.unique))
  return id and heads[id] or nil
end

-- at is the task that stands for one with this ID.
function stands_for(p, id)
  local other = p.holders[id]
  if other and not (p.tasks[id] and p.tasks[id].added) then
    return other
  end
  return id
end

-- check reports the first dependency of a task that is unknown, and notes the others.
function check(p, id, after)
  for _, d in ipairs(after) do
    local at = stands_for(p, d.id)
    local dep = planned(p, at)
    if not dep.added and not dep.there then
      if not task(at) then
        return { 'unknown', id, d.id }
      end
      dep.there = true
      depended[at] = true
    end
    dep.input = dep.input or d.input
  end
end

-- plan_one adds a task of a call that has the flows.
local function plan_one(p, n, flows)
  local answer = conflict(n, p)
  if answer then
    p.holders[n.id] = answer[2]
    return answer
  end
  if n.flow and not flows[n.flow] then
    if n.flow ~= p.grows and flow_known(n.flow) then
      return { 'flow', n.id, n.flow }
    end
    flows[n.flow] = true
  end
  answer = check(p, n.id, n.after)
  if answer then
    return answer
  end
  local own = planned(p, n.id)
  own.added, own.fixed = true, n.tied
  local other = before(n)
  local key = n.unique and unique_key(n.name, n.unique)
  if other and n.on_held == BEHIND and not p.keys[key] and under_way(p, other) then
    own.behind = other.id
  end
  if key then
    p.keys[key] = n.id
  end
end

-- plan_all adds the tasks of a call. It returns what becomes of each, and what makes the whole impossible.
function plan_all(p, list)
  local answers, flows = {}, {}
  for i, n in ipairs(list) do
    local answer = plan_one(p, n, flows)
    if answer and answer[1] ~= 'duplicate' then
      return nil, answer
    end
    answers[i] = answer or false
  end
  return answers
end

-- pin keeps the inputs that are there until the tasks are stored: what is done before may end their time.
function pin(p)
  for id, own in pairs(p.tasks) do
    if own.input and heads[id] then
      heads[id].wanted = heads[id].wanted + 1
      change(heads[id])
      own.pinned = true
    end
  end
end

function unpin(p)
  for id, own in pairs(p.tasks) do
    if own.pinned then
      unwant(id)
    end
    depended[id] = nil
    if own.there and not head(id) and zcard(P .. 'b:' .. id) == 0 then
      set(P .. 'y:' .. id, false) -- nobody has come to follow it
    end
  end
end

-- due_as is when a task is due as another one.
local function due_as(t, n)
  local due = n.run_at or now + (n.delay or 0)
  if t.status == WAITING then
    return due
  end
  local within = n.within or 0
  if within > 0 and due > t.since + within then
    due = t.since + within
  end
  if due <= now and t.due < due then
    due = t.due -- its place in line
  end
  return due
end

local ENQUEUED_WITH = { 'queue', 'prio', 'lane', 'ttl', 'run_at', 'delay', 'keep', 'keep_fail', 'unique', 'unique_for', 'id_for', 'manual', 'tied' }

-- replace makes a task that is not under way another one, under its ID.
local function replace(t, n)
  comes_not(t)
  local q, ready = queue(t.queue), t.ready
  local l = lane_of(q, t.lane)
  if l then
    l.aside = l.aside + 1 -- it is not to be forgotten, nor to lose its turn, before the task is back
  end
  unready(t)
  if t.attempt > 0 then
    t.since = now
  end
  if t.failed then
    set(P .. 'f:' .. t.id, false)
  end
  t.attempt, t.lost, t.shunned, t.failed, t.worker, t.requeued = nil, nil, nil, nil, nil, nil
  if t.notes then
    lapse_notes(t, { last = true })
  end
  local again = ready and t.queue == n.queue and t.lane == (n.lane or '')
  t.due = due_as(t, n)
  if t.queue ~= n.queue then
    zset(list_key(t.status, t.queue), t.id, false)
    zset(list_key(t.status, n.queue), t.id, t.row)
    seen_queues[n.queue] = true
  end
  for _, field in ipairs(ENQUEUED_WITH) do
    t[field] = n[field]
  end
  t.ends = n.left and now + n.left or nil
  set(P .. 'e:' .. t.id, n.envelope)
  change(t)
  if l then
    l.aside = l.aside - 1
  end
  if again and t.due <= now then
    t.ready = true
    put(q, l, t)
    publish('q:' .. t.queue)
  elseif l then
    arrange(q, l)
  end
  note_event(t, ENQUEUED, 0)
  if t.status == WAITING then
    stay(t)
  else
    pend(t)
  end
end

local forgotten = {} -- IDs of tasks of which is left how they ended

-- add stores a task, whose table it takes, or makes the one another that holds its unique key.
function add(n, p)
  local other = before(n)
  if other and not under_way(nil, other) then
    return replace(other, n)
  end
  -- What has come is the head itself, without what is not kept in it: a table more would be a tenth of all that a task costs.
  local t, after, on_held, envelope = n, n.after, n.on_held, n.envelope
  t.ends = n.left and now + n.left or nil
  t.envelope, t.on_held, t.left, t.within, t.after = nil, nil, nil, nil, nil
  setmetatable(t, with_defaults)
  heads[t.id], removed[t.id] = t, nil
  change(t)
  set(P .. 'e:' .. t.id, envelope)
  if forgotten[t.id] then -- some still follow another one that had its ID
    t.followed = true
    set(P .. 'y:' .. t.id, false)
  end
  if t.flow then
    join(t)
  end
  if #after > 0 then
    add_edges(t, after, 'o', function(id) return stands_for(p, id) end)
  elseif other and on_held == BEHIND then
    add_edges(t, { { id = other.id, need = 1 } }, 'o', function(id) return id end)
  end
  if p and p.tasks[t.id] and p.tasks[t.id].input then
    t.wanted = t.wanted + 1
    p.tasks[t.id].pinned = true
  end
  begins(t)
end

-- bare is what is not said of a new task.
local bare = { __index = { on_held = REFUSE, after = {} } }

-- prefetch reads at once what tasks of a call may need.
function prefetch(list)
  local ids, keys, gone = {}, {}, {}
  local some_gone = get(P .. 'yy')
  for _, n in ipairs(list) do
    setmetatable(n, bare)
    ids[#ids + 1] = n.id
    if some_gone then
      gone[#gone + 1] = P .. 'y:' .. n.id
    end
    for _, d in ipairs(n.after) do
      ids[#ids + 1] = d.id
    end
    if n.unique then
      keys[#keys + 1] = unique_key(n.name, n.unique)
    end
  end
  load(ids)
  load_holds(keys)
  for i, value in ipairs(mget(gone)) do
    if value then
      forgotten[list[i].id] = true
    end
  end
  ids = {}
  for _, key in ipairs(keys) do
    if holds[key] then
      ids[#ids + 1] = holds[key].id
    end
  end
  load(ids)
end

-- enqueue stores tasks, all or none. It returns what becomes of each, or what makes the whole impossible.
function enqueue(list)
  prefetch(list)
  local plain = true
  for _, n in ipairs(list) do
    plain = plain and not n.tied
  end
  local answers = {}
  if plain then -- of these none can make the others impossible
    for i, n in ipairs(list) do
      local answer = conflict(n, nil)
      answers[i] = answer or false
      if admitted(answer) then
        add(n, nil)
      end
    end
    return answers
  end
  local p = new_plan()
  local impossible
  answers, impossible = plan_all(p, list)
  if impossible then
    return nil, impossible
  end
  pin(p)
  for i, n in ipairs(list) do
    if admitted(answers[i]) then
      add(n, p)
    end
  end
  unpin(p)
  return answers
end

end
