-- advance does what was to happen by itself until now, or a part of it. It reports whether a part may be left.
local function advance()
  local key = P .. 'c'
  zflush(key)
  local members = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, AT_ONCE)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = member:sub(15)
  end
  local going = redis.call('ZRANGEBYSCORE', P .. 'g', '-inf', now, 'LIMIT', 0, AT_ONCE)
  load(ids)
  load(going)
  for i, id in ipairs(ids) do
    local t = heads[id]
    if not t then
      zset(key, members[i], false)
    elseif not final(t) and t.at and t.at <= now then
      happen(t)
    end
  end
  for _, id in ipairs(going) do
    local t = heads[id]
    if not t then
      zset(P .. 'g', id, false)
    elseif final(t) and t.at and t.at <= now then
      over(t)
    end
  end
  return #members == AT_ONCE, #going == AT_ONCE
end

-- note_first tells those who look after what happens by itself when the first of it comes earlier than they know.
local function note_first()
  local first
  for _, key in ipairs({ P .. 'c', P .. 'g' }) do
    for _, at in pairs(zsets[key] or {}) do
      if at and (not first or at < first) then
        first = at
      end
    end
  end
  if not first then
    return
  end
  for _, key in ipairs({ P .. 'c', P .. 'g' }) do
    local known = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if known and tonumber(known) <= first then
      return
    end
  end
  publish('w', { after = first - now })
end

-- flush writes what has changed.
local function flush()
  work(AT_ONCE)
  local sets, deletes = {}, {}
  for id, t in pairs(changed) do
    sets[#sets + 1] = P .. 't:' .. id
    sets[#sets + 1] = pack(t)
  end
  for id in pairs(removed) do
    deletes[#deletes + 1] = P .. 't:' .. id
  end
  write_queues()
  for key, value in pairs(strings) do
    if value then
      sets[#sets + 1] = key
      sets[#sets + 1] = value
    else
      deletes[#deletes + 1] = key
    end
  end
  bulk('MSET', nil, sets)
  bulk('UNLINK', nil, deletes)
  note_first()
  for key in pairs(zsets) do
    zflush(key)
  end
  write_holds()
  write_flows()
  write_tallies()
  write_events()
  local names = {}
  for name in pairs(seen_queues) do
    names[#names + 1] = name
  end
  bulk('SADD', P .. 'qs', names)
  if numbers then
    redis.call('SET', P .. 'seq', string.format('%.0f', numbers))
  end
  tell_topics()
end

-- each answers for each item of a call: false for what went well.
local function each(list, f)
  local answers = {}
  for i, item in ipairs(list) do
    answers[i] = f(item) or false
  end
  return answers
end

-- each_task is each for the tasks with these IDs.
local function each_task(ids, f)
  load(ids)
  return each(ids, function(id)
    local t = task(id)
    if not t then
      return { 'not found' }
    end
    return f(t)
  end)
end
