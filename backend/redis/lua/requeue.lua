#!lua
-- library: core plan
-- Begins another life of tasks that have ended without success, and with A.follow of those that ended because of them.
local asked = {} -- tasks of the call that are final without success
local unmet = {} -- how many of what a task needs have ended otherwise, and are not requeued; counted once
local obstacles = {}
local again, order_of = {}, {}
local keys = {}

load(A.ids)
for _, id in ipairs(A.ids) do
  local t = task(id)
  if t and final(t) and t.status ~= SUCCESS and not t.recorded then
    asked[id] = true
  end
end

-- leads tells whether an edge of a task to another one is an input, and how many need success, by the kind of the edges.
local function leads(t, kind, id)
  local found = { success = 0 }
  for _, d in ipairs(edges(t, kind)) do
    if d.id == id then
      found.input = found.input or d.input
      found.success = found.success + (d.need == SUCCESS_NEEDED and 1 or 0)
    end
  end
  return found
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

local function count(t)
  if not unmet[t.id] then
    local n = 0
    if t.own then
      for _, d in ipairs(edges(t, 'o')) do
        local e = ending(d.id)
        if e and not met(d.need, e.status) and again[d.id] == nil then
          n = n + 1
        end
      end
    end
    unmet[t.id] = n
  end
  return unmet[t.id]
end

-- obstacle is why a task cannot be requeued that needs nothing which has ended otherwise.
local function obstacle(t)
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

-- wants reports whether a follower of a task that is requeued is to be requeued, too.
local function wants(t, member)
  local f = task(member:sub(1, 16))
  local needs = f and final(f) and leads(f, member:sub(17, 17), t.id).success or 0
  if needs == 0 then
    return false -- it goes on, or has ended for another reason
  end
  if not asked[f.id] and not (A.follow and f.blocked) then
    return false
  end
  local counted = unmet[f.id] ~= nil
  local n = count(f)
  if counted and member:sub(17, 17) == 'o' then
    n = n - needs
    unmet[f.id] = n
  end
  return n == 0
end

local function requeue(first)
  local stack = { first }
  while #stack > 0 do
    local t = table.remove(stack)
    if again[t.id] == nil and not obstacles[t.id] then
      local why = obstacle(t)
      if why then
        obstacles[t.id] = why
      else
        order_of[#order_of + 1] = t
        again[t.id] = true
        if t.followed then
          zflush(P .. 'b:' .. t.id)
          for _, member in ipairs(redis.call('ZRANGE', P .. 'b:' .. t.id, 0, -1)) do
            if wants(t, member) then
              stack[#stack + 1] = heads[member:sub(1, 16)]
            end
          end
        end
      end
    end
  end
end

for _, id in ipairs(A.ids) do
  local t = head(id)
  if t and asked[id] and count(t) == 0 then
    requeue(t)
  end
end

local answers = each(A.ids, function(id)
  local t = head(id)
  if not t then
    return { 'not found' }
  elseif again[id] then
    again[id] = false
    return nil
  elseif again[id] == false then
    return { 'twice' }
  elseif not asked[id] then
    return state_error(t, 'one that is final without success')
  elseif obstacles[id] then
    return obstacles[id]
  end
  for _, d in ipairs(edges(t, 'o')) do
    local e = ending(d.id)
    if e and not met(d.need, e.status) and again[d.id] == nil then
      return { 'needs', d.id, e.status }
    end
  end
  return state_error(t, 'one that can be requeued')
end)

for _, t in ipairs(order_of) do
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
  revived[t.id] = true
end
for _, t in ipairs(order_of) do
  begins(t)
  revived[t.id] = nil
end
flush()
return answers
