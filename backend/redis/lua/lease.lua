#!lua flags=allow-oom
-- library: core
-- Hands out tasks that are due. It needs no memory to begin with: what is handed out is what will free some.
local behind = advance()
local handed, looks, more = {}, AT_ONCE, false
local MAX_STRANGE = 100 -- tasks of names that were not asked for

local names
if A.names then
  names = {}
  for _, name in ipairs(A.names) do
    names[name] = true
  end
end

-- reopen arranges the lanes whose time has come, or a part of them.
local function reopen(q)
  if q.lanes == 0 then
    return
  end
  zflush(P .. 'R:' .. q.name)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'R:' .. q.name, '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    if q.lanes > 0 then
      local l = lane(q, name)
      l.rest = now -- it is there, whatever was known
      arrange(q, l)
    end
  end
end

-- next_lane returns the lane whose turn it is: nil for none.
local function next_lane(q)
  reopen(q)
  while q.lanes > 0 do
    zflush(P .. 'T:' .. q.name)
    local name = redis.call('ZRANGE', P .. 'T:' .. q.name, 0, 0)[1]
    if not name then
      return nil
    end
    local l = lane(q, name)
    if l.n > 0 and may(q, l) and opening(q, l) <= now then
      return l
    end
    l.turn = l.turn or 0 -- a limit was set since it was put there
    arrange(q, l)
  end
end

-- room is how many tasks the limit of a queue permits to hand out.
local function room(q)
  local n = math.huge
  if q.limit and q.limit.running > 0 then
    n = math.max(q.limit.running - running(q), 0)
  end
  if q.limit and q.limit.every > 0 then
    n = math.min(n, math.floor(math.max(now + q.limit.every * q.limit.burst - math.max(q.used, now), 0) / q.limit.every))
  end
  return n
end

-- charge is told that a task is handed out.
local function charge(q, l)
  if l then
    serve(q, l)
  end
  if q.limit and q.limit.every > 0 then
    q.used = math.max(q.used, now) + q.limit.every
    touch_queue(q)
  end
  if l and l.name ~= '' and q.limit and q.limit.lane_every > 0 then
    l.used = math.max(l.used, now) + q.limit.lane_every
  end
end

-- queue_opens is when a task of a queue may be handed out, as far as that is a matter of time: nil if it is not.
local function queue_opens(q)
  if ready_count(q) == 0 or q.limit and q.limit.running > 0 and running(q) >= q.limit.running then
    return nil
  end
  local at
  if q.lanes == 0 then
    at = math.max(q.held, now)
  elseif next_lane(q) then
    at = now
  else
    zflush(P .. 'R:' .. q.name)
    at = tonumber(redis.call('ZRANGE', P .. 'R:' .. q.name, 0, 0, 'WITHSCORES')[2])
    if not at then
      return nil
    end
  end
  if q.limit and q.limit.every > 0 then
    at = math.max(at, opens(q.limit.every, q.limit.burst, q.used))
  end
  return at
end

local MAX_INPUTS = 64 * 1024 * 1024

-- discard ends a task that is ready and cannot be handed out any more.
local function discard(t)
  if expired(t) then
    pend(t)
  else
    finish(t, { status = FAILURE, keep = t.keep_fail, why = { how = 'inputs', size = t.load } })
  end
end

-- inputs are the results that a task gets: false for what is not one, and nil if it has waited for none. Of those that no worker has
-- made there is more: their heads and their envelopes.
local function inputs(t)
  if not t.own and not t.after then
    return nil
  end
  local list = current(t)
  if #list == 0 then
    return nil
  end
  local keys, places = {}, {}
  for i, d in ipairs(list) do
    if d.input then
      keys[#keys + 1] = P .. 'r:' .. d.id
      places[#keys] = i
    end
  end
  local found, results = mget(keys), {}
  for i in ipairs(list) do
    results[i] = false
  end
  for k, i in ipairs(places) do
    local result, id = strings[keys[k]] or found[k], list[i].id
    if result then
      results[i] = { id, result }
    else
      local dep = head(id)
      results[i] = { id, '', dep and pack(dep) or '', get(P .. 'e:' .. id) or '' }
    end
  end
  return results
end

local function start(t)
  t.attempt, t.started = t.attempt + 1, true
  tally(t, WAITED, math.min(math.max(now - t.due, 0), 31536000000000))
  note_event(t, STARTED, t.attempt, t.worker)
end

local function hand(q, l, t)
  if l then
    l.aside = l.aside + 1
  end
  take(q, l, t)
  charge(q, l)
  t.token, t.worker = A.token, A.worker
  local waited, lost, attempt = math.max(now - t.due, 0), t.lost, t.attempt + 1
  become(t, RUNNING)
  if #handed < A.max - A.ahead or A.soon and lost == 0 then -- as Starts in internal/engine
    start(t)
  end
  comes(t, now + A.duration)
  if l then
    l.aside = l.aside - 1
    arrange(q, l)
  end
  handed[#handed + 1] = { t = t, waited = waited, attempt = attempt }
end

local function can_go(t) return not expired(t) and t.load <= MAX_INPUTS end

-- most_of is how many tasks there may be when the i-th queue has been looked at.
local function most_of(q, i)
  local most = A.limits and math.min(A.max, #handed + A.limits[i]) or A.max
  if q.limit and (q.limit.running > 0 or q.limit.lane_running > 0) then
    most = math.min(most, A.max - A.ahead) -- what is taken ahead would keep places from others
  end
  return math.min(most, #handed + room(q))
end

-- pick_plain takes tasks of a queue without lanes. It reports how many strangers it has seen.
local function pick_plain(q, most, wanted, strange)
  if q.held > now then
    return strange
  end
  local key = ready_key(q, '')
  zflush(key)
  local from = 0
  while #handed < most and strange < MAX_STRANGE do
    local count = math.min(math.max(most - #handed, wanted and 50 or 1), 500)
    local members = redis.call('ZRANGE', key, from, from + count - 1)
    if #members == 0 then
      break
    end
    from = from + #members
    local ids = {}
    for i, member in ipairs(members) do
      ids[i] = id_of_ready(member)
    end
    load(ids)
    for i, id in ipairs(ids) do
      local t = heads[id]
      if #handed >= most or strange >= MAX_STRANGE then
        break
      elseif not t then
        zset(key, members[i], false) -- somebody has deleted keys
      elseif not can_go(t) then
        discard(t)
        looks = looks - 1
        if looks == 0 then
          more = true
          return strange
        end
      elseif wanted and not wanted[t.name] then
        strange = strange + 1
      else
        hand(q, nil, t)
      end
    end
  end
  return strange
end

-- pick_lanes is pick_plain for a queue with lanes, which take turns.
local function pick_lanes(q, most, wanted, strange)
  local put_back = {}
  while #handed < most and strange < MAX_STRANGE do
    local l = next_lane(q)
    if not l then
      break
    end
    local key = ready_key(q, l.name)
    zflush(key)
    local member = redis.call('ZRANGE', key, 0, 0)[1]
    local t = member and head(id_of_ready(member))
    if not t then
      if member then
        zset(key, member, false)
      end
      l.n = math.max(l.n - 1, 0)
      arrange(q, l)
    elseif not can_go(t) then
      l.aside = l.aside + 1
      discard(t)
      l.aside = l.aside - 1
      arrange(q, l)
      looks = looks - 1
      if looks == 0 then
        more = true
        break
      end
    elseif wanted and not wanted[t.name] then
      strange = strange + 1
      take(q, l, t)
      l.aside = l.aside + 1
      arrange(q, l)
      put_back[#put_back + 1] = { l = l, t = t }
    else
      hand(q, l, t)
    end
  end
  for _, s in ipairs(put_back) do
    s.l.aside = s.l.aside - 1
    s.t.ready = true
    put(q, s.l, s.t)
  end
  return strange
end

local function pick(wanted)
  local strange = 0
  for i, name in ipairs(A.queues) do
    if redis.call('SISMEMBER', P .. 'p', name) == 0 then
      local q = queue(name)
      local most = most_of(q, i)
      if q.lanes > 0 then
        strange = pick_lanes(q, most, wanted, strange)
      else
        strange = pick_plain(q, most, wanted, strange)
      end
    end
    if more then
      break
    end
  end
  return strange > 0
end

if pick(names) and not more and #handed == 0 then
  pick(nil)
end

local opens_at
if #handed == 0 then
  more = more or behind
  for _, name in ipairs(A.queues) do
    if redis.call('SISMEMBER', P .. 'p', name) == 0 then
      local at = queue_opens(queue(name))
      if at and at > now and (not opens_at or at < opens_at) then -- what is open has nothing for this call
        opens_at = at
      end
    end
  end
end

local keys, leases = {}, {}
for i, h in ipairs(handed) do
  keys[i] = P .. 'e:' .. h.t.id
end
local envelopes = mget(keys)
for i, h in ipairs(handed) do
  local t = h.t
  local state = t.notes and redis.call('HGET', P .. 'n:' .. t.id, 'state')
  local unusual = t.resumed or t.shunned or t.requeued or t.lost > 0
  leases[i] = { t.id, unusual and pack(t) or false, strings[keys[i]] or envelopes[i], h.waited, h.attempt, state or false, inputs(t) or false,
    t.started and 1 or 0 }
end
flush()
return { now, more and 1 or 0, opens_at and opens_at - now or -1, leases }
