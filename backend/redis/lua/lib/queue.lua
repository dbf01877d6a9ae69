-- Queues: what is ready of them, their limits and lanes. Of a queue without lanes one set is all. A queue with lanes has
-- more: T: those that have a turn, by when they were served last, R: those that wait for a time, L: what is known of each.
-- The tasks without a lane are one lane, too, named by the empty text; it is in these as long as there is another.

local queues = {}

-- queue returns what is known of a queue beside its tasks: limit, used (of its rate), held (the tasks without a lane, until then), served
-- (turns), and of lanes how many there are, how many are active and how many tasks of them are ready.
local function queue(name)
  local q = queues[name]
  if not q then
    local packed = redis.call('GET', P .. 'Q:' .. name)
    q = packed and cmsgpack.unpack(packed) or { used = 0, held = 0, served = 0, lanes = 0, active = 0, ready = 0 }
    q.name, q.known, q.ready_key, q.topic = name, {}, P .. 'q:' .. name, 'q:' .. name
    queues[name] = q
  end
  return q
end

local function touch_queue(q) q.changed = true end

local function ready_key(q, lane)
  if lane == '' then
    return q.ready_key
  end
  return q.ready_key .. '\0' .. lane
end

local function ready_member(t) return t.prio .. stamp(t.due) .. struct.pack('>I6', t.seq) .. t.id end

local function id_of_ready(member) return member:sub(23) end

-- running is how many tasks of a queue run.
local function running(q)
  if not q.running then
    q.running = zcard(list_key(RUNNING, q.name))
  end
  return q.running
end

-- Rates, as Pace in internal/engine counts them.
local function opens(every, burst, used) return math.max(used, now) - every * (math.max(burst, 1) - 1) end

local function lane(q, name)
  if q.lanes == 0 and name ~= '' then
    q.lanes = 1 -- this one; others are counted when they come
    local own = { name = '', n = zcard(ready_key(q, '')), running = running(q), served = 0, used = 0, held = 0, aside = 0 }
    q.known[''] = own
    touch_queue(q)
    local l = { name = name, n = 0, running = 0, served = 0, used = 0, held = 0, aside = 0, version = q.limit and q.limit.version }
    q.known[name] = l
    arrange(q, own)
    return l
  end
  local l = q.known[name]
  if l == nil then
    local packed = redis.call('HGET', P .. 'L:' .. q.name, name)
    l = packed and cmsgpack.unpack(packed)
    if l then
      l.name, l.aside = name, 0
    end
  end
  if not l then
    l = { name = name, n = 0, running = 0, served = 0, used = 0, held = 0, aside = 0, version = q.limit and q.limit.version }
    q.lanes = q.lanes + 1
    touch_queue(q)
  end
  q.known[name] = l
  if q.limit and l.version ~= q.limit.version then
    -- The limit was set since: what was charged is not more than all of the new rate.
    l.version = q.limit.version
    l.used = q.limit.lane_every > 0 and math.min(l.used, q.limit.at + q.limit.lane_every * q.limit.lane_burst) or 0
  end
  return l
end

-- lane_of returns the lane of a task: nil for that of a queue without lanes.
local function lane_of(q, name)
  if q.lanes == 0 and name == '' then
    return nil
  end
  return lane(q, name)
end

local function serve(q, l)
  q.served = q.served + 1
  l.served = q.served
  touch_queue(q)
end

-- opening is when the next task of a lane may be handed out, as far as that is a matter of time.
local function opening(q, l)
  if l.name == '' then
    return q.held
  end
  if q.limit and q.limit.lane_every > 0 then
    return math.max(l.held, opens(q.limit.lane_every, q.limit.lane_burst, l.used))
  end
  return l.held
end

-- may reports whether the limit of running tasks permits one more of a lane.
local function may(q, l)
  local most = q.limit and q.limit.lane_running or 0
  return l.name == '' or most == 0 or l.running < most
end

-- place writes where a lane stands, if it is another place than it had.
local function place(q, l, turn, rest)
  if l.turn ~= turn then
    zset(P .. 'T:' .. q.name, l.name, turn)
    l.turn = turn
  end
  if l.rest ~= rest then
    zset(P .. 'R:' .. q.name, l.name, rest)
    l.rest = rest
  end
end

local function forget_lane(q, l)
  place(q, l, nil, nil)
  if l.live then
    q.active = q.active - 1
  end
  q.known[l.name] = false
  q.lanes = q.lanes - 1
  if q.lanes == 0 then
    local own = q.known[''] or lane(q, '')
    place(q, own, nil, nil)
    q.known[''] = false
  end
  touch_queue(q)
end

-- arrange puts a lane where it belongs now, and forgets it if there is nothing left of it.
arrange = function(q, l)
  if q.lanes == 0 or q.known[l.name] ~= l then
    return
  end
  local empty = l.n == 0
  local at = opening(q, l)
  if empty and l.used > at then
    at = l.used -- what was charged is over then
  end
  local later = at > now
  local turn, rest
  if not empty and may(q, l) then
    turn = not later and l.served or nil
    rest = later and at or nil
  elseif empty and l.running == 0 and l.aside == 0 and l.name ~= '' then
    if not later then
      return forget_lane(q, l)
    end
    rest = at
  end
  place(q, l, turn, rest)
  local live = l.name ~= '' and l.n + l.running > 0
  if live ~= (l.live or false) then
    l.live = live
    q.active = q.active + (live and 1 or -1)
  end
  touch_queue(q)
end

-- put adds a task to what a lane has ready.
local function put(q, l, t)
  zset(ready_key(q, t.lane), ready_member(t), 0)
  if l then
    l.n = l.n + 1
    if l.name ~= '' then
      q.ready = q.ready + 1
    end
    arrange(q, l)
  end
end

-- take takes a task out of what a lane has ready.
local function take(q, l, t)
  zset(ready_key(q, t.lane), ready_member(t), false)
  t.ready = nil
  change(t)
  if l then
    l.n = l.n - 1
    if l.name ~= '' then
      q.ready = q.ready - 1
    end
    touch_queue(q)
  end
end

push = function(t)
  if t.ready then
    return
  end
  t.ready = true
  change(t)
  local q = queue(t.queue)
  local l = lane_of(q, t.lane)
  if l and l.n == 0 and l.running == 0 then
    serve(q, l) -- it comes after those that wait
  end
  put(q, l, t)
  publish(q.topic)
end

unready = function(t)
  if t.ready then
    local q = queue(t.queue)
    local l = lane_of(q, t.lane)
    take(q, l, t)
    if l then
      arrange(q, l)
    end
  end
end

-- ran is told that so many more tasks of a queue run, or of one of its lanes.
ran = function(name, by, lane_name, lane_by)
  local q = queue(name)
  if by ~= 0 and q.running then
    q.running = q.running + by
  end
  if not lane_by then
    return
  end
  local l = lane_of(q, lane_name)
  if l then
    l.running = l.running + lane_by
    arrange(q, l)
  end
  if lane_by < 0 and (l or q.limit) then
    publish('q:' .. name) -- a place is free
  end
end

-- hold_back lets no task of a lane be handed out until a time.
local function hold_back(t, duration)
  if not duration or duration <= 0 then
    return
  end
  local q = queue(t.queue)
  local l = lane_of(q, t.lane)
  if t.lane == '' then
    q.held = math.max(q.held, now + duration)
    touch_queue(q)
  else
    l.held = math.max(l.held, now + duration)
  end
  if l then
    arrange(q, l)
  end
end

local function ready_count(q) return zcard(ready_key(q, '')) + q.ready end

-- write_queues is a part of flush.
local function write_queues()
  for name, q in pairs(queues) do
    if q.changed then
      local gone, kept = {}, {}
      for lane_name, l in pairs(q.known) do
        if l then
          kept[#kept + 1] = lane_name
          kept[#kept + 1] = cmsgpack.pack({ n = l.n, running = l.running, served = l.served, used = l.used, held = l.held,
            version = l.version, turn = l.turn, rest = l.rest, live = l.live })
        else
          gone[#gone + 1] = lane_name
        end
      end
      bulk('HDEL', P .. 'L:' .. name, gone)
      bulk('HSET', P .. 'L:' .. name, kept)
      local rests = q.lanes == 0 and not q.limit and q.held <= now
      set(P .. 'Q:' .. name, not rests and cmsgpack.pack({ limit = q.limit, used = q.used, held = q.held, served = q.served, lanes = q.lanes,
        active = q.active, ready = q.ready }))
    end
  end
end
