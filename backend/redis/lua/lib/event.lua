-- What was done: the history, by minute, and events.

local tallies = {}
local tallied -- the one of the last task: the next one is most often of the same
local WAITED, RAN = 8, 9

-- tally counts what was done with a task: by the type of event, or microseconds of WAITED or RAN.
local function tally(t, what, n)
  local counts, name = tallied, t.name or ''
  if not counts or counts.queue ~= t.queue or counts.name ~= name then
    local key = t.queue .. '\0' .. name
    counts = tallies[key]
    if not counts then
      counts = { queue = t.queue, name = name }
      tallies[key] = counts
    end
    tallied = counts
  end
  counts[what] = (counts[what] or 0) + n
end

-- Places of one minute, of which there are so many at the most: see MaxPlaces.
local MAX_PLACES = 200

-- write_tallies is a part of flush.
local function write_tallies()
  if not next(tallies) then
    return
  end
  local minute = string.format('%.0f', math.floor(now / 60000000))
  local key = P .. 'h:' .. minute
  local known = redis.call('HLEN', key)
  local begun = known > 0
  for _, counts in pairs(tallies) do
    local field, packed
    for i, place in ipairs({ counts.queue .. '\0' .. counts.name, '\0' .. counts.name, '\0' }) do
      field, packed = place, redis.call('HGET', key, place)
      if packed or known < i * MAX_PLACES or i == 3 then
        break
      end
    end
    local sums = packed and cmsgpack.unpack(packed)
    if not sums then
      sums = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
      known = known + 1
    end
    for what = 1, 9 do
      sums[what] = sums[what] + (counts[what] or 0)
    end
    redis.call('HSET', key, field, cmsgpack.pack(sums))
  end
  if not begun then
    redis.call('EXPIRE', key, 86400 + 180)
  end
end

-- Events are a stream, whose IDs are their numbers: without a gap. Each says until when it is kept, and which one of its task was before
-- it; of each task the last one is in a hash.
local events = {}

local function add_event(e)
  e.ends = now + A.events
  events[#events + 1] = e
end

-- note_event counts what happened to a task, and keeps the event.
note_event = function(t, what, attempt, worker, err, why)
  tally(t, what, 1)
  if A.events then
    add_event({ id = t.id, what = what, at = now, attempt = attempt > 0 and attempt or nil, worker = worker ~= '' and worker or nil,
      queue = t.queue, name = t.name, error = err, why = why })
  end
end

local function last_event() return tonumber(redis.call('GET', P .. 'evn') or 0) end

-- gone_events is the number of the last event that is not kept any more.
local function gone_events() return tonumber(redis.call('GET', P .. 'evg') or 0) end

-- trim removes events whose time is over, or so many of them.
local function trim(most)
  local batch = 1 -- most often there is none
  local gone
  while most > 0 do
    local from = gone and string.format('(%.0f-0', gone) or '-'
    local list = redis.call('XRANGE', P .. 'ev', from, '+', 'COUNT', batch)
    local lasts, ids = {}, {}
    local done = #list < batch
    for _, entry in ipairs(list) do
      local e = cmsgpack.unpack(entry[2][2])
      if e.ends > now then
        done = true
        break
      end
      gone = tonumber(entry[1]:match('^%d+'))
      ids[#ids + 1] = e.id
      lasts[#lasts + 1] = gone
    end
    if #ids > 0 then
      local latest = redis.call('HMGET', P .. 'evt', unpack(ids))
      for i, id in ipairs(ids) do
        if latest[i] and tonumber(latest[i]) == lasts[i] then
          redis.call('HDEL', P .. 'evt', id)
        end
      end
    end
    most = most - #list
    batch = 100
    if done then
      break
    end
  end
  if gone then
    redis.call('XTRIM', P .. 'ev', 'MINID', string.format('%.0f-0', gone + 1))
    redis.call('SET', P .. 'evg', string.format('%.0f', gone))
  end
end

-- write_events is a part of flush.
local function write_events()
  if #events == 0 then
    return
  end
  trim(AT_ONCE)
  local latest, ids = {}, {}
  for _, e in ipairs(events) do
    if latest[e.id] == nil then
      latest[e.id] = false
      ids[#ids + 1] = e.id
    end
  end
  for i = 1, #ids, 4000 do
    for k, n in ipairs(redis.call('HMGET', P .. 'evt', unpack(ids, i, math.min(i + 3999, #ids)))) do
      latest[ids[i + k - 1]] = tonumber(n or nil)
    end
  end
  local n = last_event()
  for _, e in ipairs(events) do
    n = n + 1
    e.before = latest[e.id] or nil
    latest[e.id] = n
    redis.call('XADD', P .. 'ev', string.format('%.0f-0', n), '', cmsgpack.pack(e))
  end
  local list = {}
  for _, id in ipairs(ids) do
    list[#list + 1] = id
    list[#list + 1] = latest[id]
  end
  bulk('HSET', P .. 'evt', list)
  redis.call('SET', P .. 'evn', string.format('%.0f', n))
  events = {}
  publish('e')
end
