-- Tasks. The head of a task is a map in one string, which names what is not as usual. Its fields are:
--
--   status, since, row     its state, since when, and its place in the list of that state
--   name, queue, lane, prio    prio is bytes that sort as tasks are leased; nil for the priority 0
--   seq, due, ends         its number, when it is due, when its TTL is over; nil for never
--   at                     when the next thing happens to it by itself: it is in P..'c' then or, when it is final, in P..'g'
--   ready                  it is in the set of what is ready
--   attempt, started, lost, shunned    attempts that began, whether that of the lease has, those that were lost, and since
--                          when workers give it back that cannot run it
--   token, worker          its lease, and who has or had it
--   ttl, run_at, delay, keep, keep_fail, unique, unique_for, id_for, manual, flow, member    what it was enqueued with
--   requeued               when it was enqueued again, if it was: its envelope still says when it was created first
--   why                    how it has ended, where no worker has said that: a map with how
--   failed, notes          there is an error of its last attempt, or what its handlers have left
--   size                   bytes of its result's data
--   recorded               another engine's task, of which only the result is here
--   own, after             it has edges of its own, or those for which it has handed over
--   open, load, resumed, blocked, holds_own, holds_after, followed, wanted, kept_over    see links
--
-- Its other keys are e: the envelope (of one that has succeeded only if it is to be kept), r: the result, f: the error of the last attempt, n: notes, s: streams, d: and D: edges, o: open
-- edges, b: followers, y: what is left of it for these.

local defaults = { attempt = 0, lost = 0, lane = '', worker = '', wanted = 0, open = 0, load = 0, keep = 3600000000, keep_fail = 604800000000,
  prio = '\127\255\255\255\255\255\255\255', delay = 0, size = 0, id_for = 0, unique_for = 0 }
local with_defaults = { __index = defaults }

local heads, changed, removed = {}, {}, {}

-- load reads heads together.
local function load(ids)
  local keys, of = {}, {}
  for _, id in ipairs(ids) do
    if heads[id] == nil then
      heads[id] = false
      keys[#keys + 1] = P .. 't:' .. id
      of[#keys] = id
    end
  end
  for i, packed in ipairs(mget(keys)) do
    if packed then
      local t = setmetatable(cmsgpack.unpack(packed), with_defaults)
      t.id = of[i]
      heads[t.id] = t
    end
  end
end

local function head(id)
  if heads[id] == nil then
    load({ id })
  end
  return heads[id] or nil
end

local function change(t) changed[t.id] = t end

local function pack(t)
  local id = t.id
  t.id = nil
  local packed = cmsgpack.pack(t)
  t.id = id
  return packed
end

local function final(t) return t.status >= SUCCESS and t.status <= EXPIRED end

local function expired(t) return t.ends and now >= t.ends end

local list_keys = {} -- by status and queue

local function list_key(status, queue)
  local keys = list_keys[status]
  if not keys then
    keys = {}
    list_keys[status] = keys
  end
  local key = keys[queue]
  if not key then
    key = P .. 'l:' .. status .. ':' .. queue
    keys[queue] = key
  end
  return key
end

-- order is where a task stands among those to which something happens at the same time.
local function order(t) return t.prio .. struct.pack('>I6', t.seq) .. t.id end

local function comes(t, at)
  t.at = at
  zset(P .. 'c', order(t), at)
  change(t)
end

local function comes_not(t)
  if t.at and not final(t) then
    zset(P .. 'c', order(t), false)
    t.at = nil
    change(t)
  end
end

local function goes(t, at)
  t.at = at
  zset(P .. 'g', t.id, at)
  change(t)
end

local function goes_not(t)
  if t.at and final(t) then
    zset(P .. 'g', t.id, false)
    t.at = nil
    change(t)
  end
end

-- quit takes a task out of its state, if it has one.
local function quit(t)
  if t.status then
    member_count(t, t.status, -1)
    zset(list_key(t.status, t.queue), t.id, false)
    if t.status == RUNNING then
      ran(t.queue, -1)
    end
  end
end

local seen_queues = {} -- to which something was added

-- become gives a task another state.
local function become(t, status)
  local was = t.status
  quit(t)
  t.status, t.since, t.row = status, now, number()
  change(t)
  zset(list_key(status, t.queue), t.id, t.row)
  seen_queues[t.queue] = true
  member_count(t, status, 1)
  if status == RUNNING then
    ran(t.queue, 1)
  end
  if was == RUNNING and status ~= PENDING then
    ran(t.queue, 0, t.lane, -1)
  end
  if status == RUNNING then
    ran(t.queue, 0, t.lane, 1)
  end
end

-- pause is how long a task rests whose lease has expired: see Pause in internal/engine.
local function pause(lost)
  local limit = 60000000
  if lost <= 6 then
    limit = math.min(1000000 * 2 ^ math.max(lost - 1, 0), limit)
  end
  if lost < 2 then
    return math.floor(math.random() * limit)
  end
  return math.floor(limit / 2 + math.random() * limit / 2)
end

-- happen does what was to happen to a task that is not final.
local function happen(t)
  if t.status == WAITING then
    return stay(t)
  end
  if t.token then
    if t.started then
      t.lost = t.lost + 1
    end
    t.due = now + pause(t.lost)
  end
  pend(t)
end

-- task returns a task as it is now, also if nobody has written down yet what has happened to it by itself: nil for none.
local function task(id)
  local t = head(id)
  if not t or not t.at or t.at > now then
    return t
  end
  if not final(t) then
    happen(t)
  end
  if heads[id] and final(t) and t.at and t.at <= now then
    over(t)
  end
  return heads[id] or nil
end

pend = function(t)
  local ends_lease = t.status == RUNNING
  if t.status ~= PENDING then
    become(t, PENDING)
  end
  t.token, t.started = nil, nil
  change(t)
  if expired(t) then
    finish(t, { status = EXPIRED, keep = t.keep_fail, why = { how = 'expired', ttl = t.ttl } })
  else
    local is_due = t.due <= now
    if not is_due and (not t.ends or t.due < t.ends) then
      comes(t, t.due)
    elseif t.ends then
      comes(t, t.ends)
    else
      comes_not(t)
    end
    if is_due then
      push(t)
    end
  end
  if ends_lease then
    ran(t.queue, 0, t.lane, -1) -- after it is ready: its lane is not without a task meanwhile
  end
end

stay = function(t)
  if t.status ~= WAITING then
    become(t, WAITING)
  end
  t.token, t.started = nil, nil
  change(t)
  if expired(t) then
    finish(t, { status = EXPIRED, keep = t.keep_fail, why = { how = 'expired', ttl = t.ttl } })
  elseif t.ends then
    comes(t, t.ends)
  else
    comes_not(t)
  end
end

-- lapse deletes the keys of what handlers have left, all but what is to stay of it. These are written at once.
local function lapse_notes(t, stays)
  local key = P .. 'n:' .. t.id
  local fields = redis.call('HKEYS', key)
  for _, field in ipairs(fields) do
    if field:sub(1, 2) == 's:' then
      redis.call('UNLINK', P .. 's:' .. t.id .. field:sub(3))
    end
    if not stays[field] then
      redis.call('HDEL', key, field)
    end
  end
end

local remove

over = function(t)
  if t.wanted > 0 then
    goes_not(t)
    t.kept_over = true
    change(t)
    return
  end
  remove(t)
end

-- remove forgets a task that is final.
remove = function(t)
  goes_not(t)
  quit(t)
  part(t)
  untie(t)
  if t.notes then
    lapse_notes(t, {})
  end
  heads[t.id] = false
  changed[t.id] = nil
  removed[t.id] = true
  set(P .. 'e:' .. t.id, false)
  set(P .. 'r:' .. t.id, false)
  if t.failed then
    set(P .. 'f:' .. t.id, false)
  end
end

local EVENT_OF = { [SUCCESS] = COMPLETED, [FAILURE] = FAILED, [CANCELLED] = WAS_CANCELLED, [EXPIRED] = HAS_EXPIRED }

local release_key

-- finish ends a task. R has the status, keep for how long in microseconds (nil for ever), and either the result as JSON, with its
-- error, or why no worker has made one.
finish = function(t, r)
  comes_not(t)
  unready(t)
  if t.unique then
    release_key(t)
  end
  local worker = t.token and t.worker or nil
  t.token, t.started, t.size = nil, nil, r.size
  if t.failed then
    t.failed = nil
    set(P .. 'f:' .. t.id, false)
  end
  become(t, r.status)
  t.why = r.why
  local told = { id = t.id, seq = t.seq, status = r.status, since = now, attempt = t.attempt, why = r.why, result = r.result }
  if r.result then
    set(P .. 'r:' .. t.id, r.result)
  else
    told.envelope = get(P .. 'e:' .. t.id) or nil
    told.requeued = t.requeued
  end
  if r.status == SUCCESS then
    if not r.keep_task then
      set(P .. 'e:' .. t.id, false)
    end
    if t.notes then
      redis.call('HDEL', P .. 'n:' .. t.id, 'state')
    end
  end
  if t.notes then
    publish('s:' .. t.id)
  end
  fall_out(t)
  note_event(t, EVENT_OF[r.status], t.attempt, worker, r.error, r.why)
  publish('r:' .. t.id, told)
  if r.status == SUCCESS then
    free(t)
  end
  if r.keep then
    if r.keep > 0 then
      goes(t, now + r.keep)
    else
      -- Who waits, and has just lost the connection on which it is told, finds the result here.
      redis.call('SET', P .. 'z:' .. t.id, cmsgpack.pack(told), 'PX', 10000)
      over(t)
    end
  end
end

local function revoke(t)
  local key = P .. 'v:' .. t.worker
  redis.call('ZADD', key, t.at, t.id .. t.token)
  redis.call('PEXPIRE', key, math.max(math.ceil((t.at - now) / 1000), 1), 'NX')
  redis.call('PEXPIRE', key, math.max(math.ceil((t.at - now) / 1000), 1), 'GT')
  publish('v:' .. t.worker)
end

local function cancel(t)
  if t.status == RUNNING then
    revoke(t)
  end
  finish(t, { status = CANCELLED, keep = t.keep, why = { how = 'cancelled' } })
end

-- leased returns the task of a lease, nil if the lease is lost.
local function leased(id, token)
  local t = task(id)
  if t and t.token and t.token == token then
    return t
  end
end

-- why_lost is the answer for a lease that is lost.
local function why_lost(id)
  local t = heads[id]
  if t and t.status == CANCELLED then
    return { 'cancelled' }
  end
  return { 'lost' }
end

-- hasten makes a pending task due now, unless it is.
local function hasten(t)
  if t.due > now then
    t.due = now
    pend(t)
  end
end

-- view is what is shown of a task: its head, envelope, result, error, notes and edges.
local function view(t)
  local keys = { P .. 'e:' .. t.id, P .. 'r:' .. t.id, P .. 'f:' .. t.id, P .. (t.resumed and 'D:' or 'd:') .. t.id }
  local found = mget(keys)
  for i, key in ipairs(keys) do
    if strings[key] ~= nil then
      found[i] = strings[key]
    end
  end
  local notes = t.notes and redis.call('HMGET', P .. 'n:' .. t.id, 'progress', 'state') or {}
  return { t.id, pack(t), found[1], found[2], found[3], found[4], notes[1] or false, notes[2] or false }
end

-- state_error is the answer for a task in another state than is wanted.
local function state_error(t, want) return { 'state', t.status, want } end
