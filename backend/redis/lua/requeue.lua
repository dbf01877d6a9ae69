#!lua
-- library: core
-- Begins another life of tasks that have ended without success, and with A.follow of those that ended because of them: of these a part,
-- and it says whether some are left. Who requeues them waits for those, and anybody goes on with them.
local asked = {} -- tasks of the call that are final without success
local needs = {} -- how many of what a task needs have ended otherwise, and are not requeued; counted once
local after = {} -- by the IDs of tasks, those that are asked for and follow them, with the kinds of their edges, as the members of b:
local obstacles = {}
local again, order_of = {}, {}
local keys = {}
local looks, left = AT_ONCE, {}

load(A.ids)
for _, id in ipairs(A.ids) do
  local t = task(id)
  if t and final(t) and t.status ~= SUCCESS and not t.recorded and not asked[id] then
    asked[id] = true
    for _, kind in ipairs({ t.own and 'o' or nil, t.after and 'a' or nil }) do
      for _, d in ipairs(edges(t, kind)) do
        local own = after[d.id] or { list = {}, has = {} }
        after[d.id] = own
        if not own.has[id .. kind] then
          own.has[id .. kind] = true
          own.list[#own.list + 1] = id .. kind
        end
      end
    end
  end
end

local function count(t)
  if not needs[t.id] then
    needs[t.id] = unmet(t, again)
  end
  return needs[t.id]
end

-- wants reports whether a follower of a task that is requeued is to be requeued, too.
local function wants(t, member)
  local f = task(member:sub(1, 16))
  local success = f and final(f) and leads(f, member:sub(17, 17), t.id).success or 0
  if success == 0 then
    return false -- it goes on, or has ended for another reason
  end
  if not asked[f.id] and not f.blocked then
    return false
  end
  local counted = needs[f.id] ~= nil
  local n = count(f)
  if counted and member:sub(17, 17) == 'o' then
    n = n - success
    needs[f.id] = n
  end
  return n == 0
end

-- following are followers of a task that may be requeued with it, in their order, as members: those that are asked for, and others as far
-- as the script may still look at some. What it leaves it notes.
local function following(t)
  local members, number_of = {}, {}
  local own = after[t.id]
  if own then
    zflush(P .. 'b:' .. t.id)
    for _, member in ipairs(own.list) do
      local score = redis.call('ZSCORE', P .. 'b:' .. t.id, member)
      if score then
        members[#members + 1], number_of[member] = member, tonumber(score)
      end
    end
  end
  if A.follow and t.followed then
    local list, last = looks > 0 and some_followers(t.id, 0, nil, looks) or {}, 0
    for i = 1, #list, 2 do
      last = tonumber(list[i + 1])
      if not number_of[list[i]] then
        members[#members + 1], number_of[list[i]] = list[i], last
      end
    end
    looks = looks - #list / 2
    if looks <= 0 then
      left[t.id] = last
    end
  end
  table.sort(members, function(a, b) return number_of[a] < number_of[b] end)
  return members
end

local function requeue(first)
  local stack = { first }
  while #stack > 0 do
    local t = table.remove(stack)
    if again[t.id] == nil and not obstacles[t.id] then
      local why = obstacle(t, keys)
      if why then
        obstacles[t.id] = why
      else
        order_of[#order_of + 1] = t
        again[t.id] = true
        for _, member in ipairs(following(t)) do
          if wants(t, member) then
            stack[#stack + 1] = heads[member:sub(1, 16)]
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
  local n, needed, how = unmet(t, again)
  if n > 0 then
    return { 'needs', needed, how.status }
  end
  return state_error(t, 'one that can be requeued')
end)

for _, t in ipairs(order_of) do
  reset(t)
  revived[t.id] = true
end
for _, t in ipairs(order_of) do
  begins(t)
  revived[t.id] = nil
  if left[t.id] then
    revive_later(t, left[t.id])
  end
end
flush()
return { answers, next(left) and 1 or 0 }
