-- What ties tasks. An edge leads from a task to one that it waits for. Those of a task are written once, in their order, in d:, and
-- those for which it has handed over in D:. Which of them have not ended is the set o:, so to end one twice is harmless; open counts
-- them. What a task is waited for by is the set b:, by the numbers of its edges; a member is the follower, the kind of the edge
-- (o or a), its need and whether it is an input. It stays while the follower is kept, for requeues. When a task is
-- forgotten that has followers, y: says how it ended.
--
-- The head counts in wanted the edges for which the result is kept; holds_own and holds_after say that a follower's are among those.

local SUCCESS_NEEDED = '\0'

-- edges reads the edges of a task.
local function edges(t, kind)
  local list = {}
  local packed = get(P .. (kind == 'o' and 'd:' or 'D:') .. t.id) or ''
  for i = 1, #packed, 18 do
    list[#list + 1] = { id = packed:sub(i, i + 15), need = packed:sub(i + 16, i + 16), input = packed:sub(i + 17, i + 17) == '\1' }
  end
  return list
end

local function current(t) return edges(t, t.resumed and 'a' or 'o') end

local revived = {} -- tasks that are requeued in this script, and have not begun again

-- ending tells how a task has ended, also one that is forgotten: nil if it goes on.
local function ending(id)
  if revived[id] then
    return nil
  end
  local t = heads[id]
  if t == nil then
    t = head(id)
  end
  if not t then
    local packed = get(P .. 'y:' .. id)
    return packed and cmsgpack.unpack(packed) or { status = SUCCESS, name = '' }
  end
  if not final(t) then
    return nil
  end
  return t
end

local function met(need, status) return status == SUCCESS or need ~= SUCCESS_NEEDED end

-- why_of is what is to be told of a dependency that has ended otherwise than it was needed.
local function why_of(id, e)
  if e.why and e.why.how == 'dependency' then
    return e.why -- the one that began it
  end
  local message = e.message
  local result = not e.why and get(P .. 'r:' .. id)
  if result then
    local ok, decoded = pcall(cjson.decode, result)
    if ok and type(decoded.error) == 'table' then
      message = decoded.error.message
    end
  end
  return { how = 'dependency', id = id, name = e.name or '', status = e.status, message = message, why = e.why }
end

-- add_edges writes the edges of a task. At names the task that stands for another one.
local function add_edges(t, after, kind, at)
  local packed, holds_some = {}, false
  for _, d in ipairs(after) do
    local id = at(d.id)
    local need, input = d.need == 1 and '\1' or SUCCESS_NEEDED, d.input and '\1' or '\0'
    packed[#packed + 1] = id .. need .. input
    zset(P .. 'b:' .. id, t.id .. kind .. need .. input, number())
    local dep = heads[id]
    if dep then
      dep.followed = true
      if d.input then
        dep.wanted = dep.wanted + 1
        holds_some = true
      end
      change(dep)
    end
  end
  set(P .. (kind == 'o' and 'd:' or 'D:') .. t.id, table.concat(packed))
  if kind == 'o' then
    t.own, t.holds_own = true, holds_some or nil
  else
    t.after, t.holds_after = true, holds_some or nil
  end
  change(t)
end

-- await makes a task wait for what its edges lead to, as far as that has not ended. It returns the first one that has ended otherwise than
-- is needed, and how. The set of open edges is written at once.
local function await(t)
  local open, unmet, how = {}, nil, nil
  local list = current(t)
  local ids = {}
  for i, d in ipairs(list) do
    ids[i] = d.id
  end
  load(ids)
  for _, d in ipairs(list) do
    local e = ending(d.id)
    if not e then
      open[#open + 1] = d.id
    elseif not met(d.need, e.status) and not unmet then
      unmet, how = d.id, e
    end
  end
  redis.call('DEL', P .. 'o:' .. t.id)
  bulk('SADD', P .. 'o:' .. t.id, open)
  t.open, t.blocked = #open, nil
  change(t)
  return unmet, how
end

-- unwant is that one edge less needs a task's result.
local function unwant(id)
  local t = head(id)
  if not t then
    return
  end
  t.wanted = t.wanted - 1
  change(t)
  if t.wanted == 0 and t.kept_over then
    t.kept_over = nil
    goes(t, now)
  end
end

local function let_go(t, kind)
  local field = kind == 'o' and 'holds_own' or 'holds_after'
  if not t[field] then
    return
  end
  t[field] = nil
  change(t)
  local list, ids = edges(t, kind), {}
  for i, d in ipairs(list) do
    ids[i] = d.id
  end
  load(ids)
  for _, d in ipairs(list) do
    if d.input then
      unwant(d.id)
    end
  end
end

-- free ends that results are kept for a task.
free = function(t)
  let_go(t, 'o')
  let_go(t, 'a')
end

-- shed removes the edges of a task from what those have that it follows.
local function shed(t, kind)
  local list, ids = edges(t, kind), {}
  for i, d in ipairs(list) do
    ids[i] = d.id
  end
  load(ids)
  for _, d in ipairs(list) do
    local key = P .. 'b:' .. d.id
    zset(key, t.id .. kind .. d.need .. (d.input and '\1' or '\0'), false)
    if zcard(key) == 0 then
      local dep = heads[d.id]
      if dep then
        dep.followed = nil
        change(dep)
      else
        set(P .. 'y:' .. d.id, false)
      end
    end
  end
  set(P .. (kind == 'o' and 'd:' or 'D:') .. t.id, false)
end

-- leave ends that a task follows those to which it has handed over.
local function leave(t)
  if t.after then
    let_go(t, 'a')
    shed(t, 'a')
    t.after = nil
    change(t)
  end
end

-- untie is for a task that is forgotten: it follows nobody any more, and those that follow it know how it has ended.
untie = function(t)
  if t.own or t.after then
    free(t)
    leave(t)
    if t.own then
      shed(t, 'o')
    end
    redis.call('DEL', P .. 'o:' .. t.id)
  end
  if t.followed then
    if zcard(P .. 'b:' .. t.id) > 0 then
      local message
      if not t.why and t.status ~= SUCCESS then
        message = why_of(t.id, t).message
      end
      set(P .. 'y:' .. t.id, cmsgpack.pack({ status = t.status, name = t.name, why = t.why, message = message }))
    end
  end
end

-- block ends a task because of a dependency that has ended otherwise than it needs.
local function block(t, id, how)
  finish(t, { status = CANCELLED, keep = t.keep_fail, why = why_of(id, how) })
  t.blocked = true
  change(t)
end

-- released makes a task pending that has waited for others.
local function released(t)
  t.due = now
  if not t.resumed then
    t.due = t.run_at or now + t.delay
    if t.run_at and t.run_at < now then
      t.due = now + t.delay
    end
  end
  pend(t)
end

-- waits makes a task wait, or pending if there is nothing to wait for, or ends it because of what it can never have.
local function waits(t, unmet, how)
  if unmet then
    become(t, WAITING)
    block(t, unmet, how)
  elseif t.open > 0 or t.manual then
    stay(t)
  else
    pend(t)
  end
end

-- Tasks that have ended, and whose followers are to be told: those of this script, and a list of those of scripts before, which were
-- too many at once.
local fallout = {}

fall_out = function(t)
  if t.followed then
    fallout[#fallout + 1] = { id = t.id, upto = number(), from = 0 }
  end
end

-- lead tells a follower that what it may wait for has ended.
local function lead(id, how, member)
  local follower, kind, need = member:sub(1, 16), member:sub(17, 17), member:sub(18, 18)
  local t = head(follower)
  if not t or (kind == 'a') ~= (t.resumed == true) then
    return
  end
  if redis.call('SREM', P .. 'o:' .. follower, id) == 0 then -- written at once: it is to be told once
    return
  end
  t.open = t.open - 1
  change(t)
  if t.status ~= WAITING then
    return
  end
  if not met(need, how.status) then
    block(t, id, how)
  elseif t.open == 0 and not t.manual then
    released(t)
  end
end

-- tell_some tells followers of one task, at most so many. It returns how many, and whether those were all.
local function tell_some(job, most)
  local how = ending(job.id)
  if not how then
    return 0, true -- it was requeued
  end
  local key = P .. 'b:' .. job.id
  zflush(key)
  local list = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', job.from), string.format('%.0f', job.upto), 'WITHSCORES', 'LIMIT', 0, most)
  local ids = {}
  for i = 1, #list, 2 do
    ids[#ids + 1] = list[i]:sub(1, 16)
  end
  load(ids)
  for i = 1, #list, 2 do
    job.from = tonumber(list[i + 1])
    lead(job.id, how, list[i])
  end
  return #list / 2, #list / 2 < most
end

-- tell tells followers of tasks that have ended, some of them. The list of the others is written at once.
local function tell(most)
  local left = most
  local i = 1
  while fallout[i] and left > 0 do
    local n, all = tell_some(fallout[i], left)
    left = left - n
    if all then
      i = i + 1
    end
  end
  local rest = {}
  for k = i, #fallout do
    rest[#rest + 1] = cmsgpack.pack(fallout[k])
  end
  fallout = {}
  while left > 0 do
    local packed = redis.call('LINDEX', P .. 'j', 0)
    if not packed then
      break
    end
    local job = cmsgpack.unpack(packed)
    local n, all = tell_some(job, left)
    left = left - n
    if all then
      redis.call('LPOP', P .. 'j')
    else
      redis.call('LSET', P .. 'j', 0, cmsgpack.pack(job))
    end
  end
  for _, job in ipairs(fallout) do -- of those that ended by this
    rest[#rest + 1] = cmsgpack.pack(job)
  end
  fallout = {}
  if #rest > 0 then
    bulk('RPUSH', P .. 'j', rest)
    publish('w')
  end
end

-- user is a task that has not ended and goes on with this one's result: nil for none.
local function user(t)
  if t.wanted == 0 then
    return nil
  end
  local key = P .. 'b:' .. t.id
  zflush(key)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local f = member:sub(19, 19) == '\1' and head(member:sub(1, 16))
    local kind = member:sub(17, 17)
    if f and (kind == 'a') == (f.resumed == true) and f[kind == 'o' and 'holds_own' or 'holds_after'] and not final(f)
      and redis.call('SISMEMBER', P .. 'o:' .. f.id, t.id) == 0 then
      return f
    end
  end
end

-- load_of is how many bytes the inputs of a task have.
local function load_of(t)
  local size = 0
  if t.own or t.after then
    for _, d in ipairs(current(t)) do
      local dep = d.input and head(d.id)
      if dep then
        size = size + dep.size
      end
    end
  end
  return size
end

local MAX_INPUTS = 64 * 1024 * 1024

-- discard ends a task that is ready and cannot be handed out any more.
local function discard(t)
  if expired(t) then
    pend(t)
  else
    finish(t, { status = FAILURE, keep = t.keep_fail, why = { how = 'inputs', size = load_of(t) } })
  end
end

-- inputs are the results that a task gets: false for what is not one, and nil if it has waited for none.
local function inputs(t)
  if not t.own and not t.after then
    return nil
  end
  local list = current(t)
  if #list == 0 then
    return nil
  end
  local keys = {}
  for _, d in ipairs(list) do
    if d.input then
      keys[#keys + 1] = P .. 'r:' .. d.id
      keys[#keys + 1] = P .. 'e:' .. d.id
    end
  end
  local found, k, results = mget(keys), 1, {}
  for i, d in ipairs(list) do
    results[i] = false
    if d.input then
      local dep = head(d.id)
      results[i] = { d.id, dep and pack(dep) or false, strings[keys[k]] or found[k], found[k + 1] }
      k = k + 2
    end
  end
  return results
end

-- Flows: the members are a set by their numbers, and how many are in each state is a hash.
join = function(t)
  t.member = number()
  zset(P .. 'w:' .. t.flow, t.id, t.member)
end

local flow_counts = {}

member_count = function(t, status, n)
  if t.flow then
    local counts = flow_counts[t.flow]
    if not counts then
      counts = {}
      flow_counts[t.flow] = counts
    end
    counts[status] = (counts[status] or 0) + n
  end
end

part = function(t)
  if t.flow then
    zset(P .. 'w:' .. t.flow, t.id, false)
  end
end

local function flow_known(id) return zcard(P .. 'w:' .. id) > 0 end

-- write_flows is a part of flush.
local function write_flows()
  for id, counts in pairs(flow_counts) do
    for status, n in pairs(counts) do
      if n ~= 0 and redis.call('HINCRBY', P .. 'wn:' .. id, status, n) == 0 then
        redis.call('HDEL', P .. 'wn:' .. id, status)
      end
    end
  end
end
