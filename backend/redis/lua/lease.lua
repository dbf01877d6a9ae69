#!lua flags=allow-oom
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
  if #handed < A.max - A.ahead then
    start(t)
  end
  comes(t, now + A.duration)
  if l then
    l.aside = l.aside - 1
    arrange(q, l)
  end
  handed[#handed + 1] = { t = t, waited = waited, attempt = attempt }
end

local function can_go(t) return not expired(t) and ((not t.own and not t.after) or load_of(t) <= MAX_INPUTS) end

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
    local members = redis.call('ZRANGE', key, from, from + math.min(most - #handed, 500) - 1)
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
  leases[i] = { t.id, pack(t), strings[keys[i]] or envelopes[i], h.waited, h.attempt, state or false, inputs(t) or false }
end
flush()
return { now, more and 1 or 0, opens_at and opens_at - now or -1, leases }
