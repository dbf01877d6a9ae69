-- What ties tasks. An edge leads from a task to one that it waits for. Those of a task are written once, in their order, in d:, and
-- those for which it has handed over in D:. Several may lead to one task, because a holder takes the place of a duplicate. Which tasks
-- are waited for that have not ended is the hash o:, so to end one twice is harmless; open counts them. Its values are what is
-- needed of them, and how many of the edges are inputs. What a task is waited for by is the set b:, by the numbers of its edges; a member is
-- the follower and the kind of the edge (o or a). It stays while the follower is kept, for requeues. When a task is forgotten
-- that has followers, y: says how it ended. The string yy is there as soon as there has been one such key.
-- The task's load is how many bytes those of its inputs have that have ended.
--
-- The head counts in wanted the edges for which the result is kept; holds_own and holds_after say that a follower's are among those.

local SUCCESS_NEEDED = '\0'
local depended = {} -- tasks that those of a plan depend on: they may be forgotten before these are stored
local revived = {} -- tasks that are requeued in this script, and have not begun again

local edges, current, ending, met, add_edges, await, unwant, leave, waits, revive_later, work, flow_known, write_flows

do -- not indented: it is the rest of the file. See base
local P, now, heads, head, load, change, zset, zcard, zflush, set, get = P, now, heads, head, load, change, zset, zcard, zflush, set, get

-- edges reads the edges of a task.
function edges(t, kind)
  local list = {}
  local packed = get(P .. (kind == 'o' and 'd:' or 'D:') .. t.id) or ''
  for i = 1, #packed, 18 do
    list[#list + 1] = { id = packed:sub(i, i + 15), need = packed:sub(i + 16, i + 16), input = packed:sub(i + 17, i + 17) == '\1' }
  end
  return list
end

function current(t) return edges(t, t.resumed and 'a' or 'o') end

-- ending tells how a task has ended, also one that is forgotten: nil if it goes on.
function ending(id)
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

function met(need, status) return status == SUCCESS or need ~= SUCCESS_NEEDED end

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
function add_edges(t, after, kind, at)
  local packed, holds_some = {}, false
  for _, d in ipairs(after) do
    local id = at(d.id)
    local need, input = d.need == 1 and '\1' or SUCCESS_NEEDED, d.input and '\1' or '\0'
    packed[#packed + 1] = id .. need .. input
    zset(P .. 'b:' .. id, t.id .. kind, number())
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
-- is needed, and how. What is open is written at once.
function await(t)
  local open, n, size, unmet, how = {}, 0, 0, nil, nil
  local list = current(t)
  local ids = {}
  for i, d in ipairs(list) do
    ids[i] = d.id
  end
  load(ids)
  for _, d in ipairs(list) do
    local e = ending(d.id)
    if not e then
      local own = open[d.id]
      if not own then
        own = { need = d.need, inputs = 0 }
        open[d.id] = own
        n = n + 1
      end
      if d.need == SUCCESS_NEEDED then
        own.need = d.need
      end
      if d.input then
        own.inputs = own.inputs + 1
      end
    else
      size = size + (d.input and e.size or 0)
      if not met(d.need, e.status) and not unmet then
        unmet, how = d.id, e
      end
    end
  end
  if t.status then
    redis.call('UNLINK', P .. 'o:' .. t.id) -- of what it has waited for before
  end
  local pairs_of = {}
  for id, own in pairs(open) do
    pairs_of[#pairs_of + 1] = id
    pairs_of[#pairs_of + 1] = own.need .. own.inputs
  end
  bulk('HSET', P .. 'o:' .. t.id, pairs_of)
  t.open, t.load, t.blocked = n, size > 0 and size or nil, nil
  change(t)
  return unmet, how
end

-- unwant is that one edge less needs a task's result.
function unwant(id)
  local t = head(id)
  if not t or t.wanted == 0 then
    return -- another one has the ID by now
  end
  t.wanted = t.wanted - 1
  change(t)
  if t.wanted == 0 and t.kept_over then
    t.kept_over = nil
    goes(t, now)
  end
end

-- Work that is too much for one script is a list of jobs: a job is for a task that has ended, and whose followers are to be told (tell), or
-- for edges that are not needed any more: for which no result is to be kept (drop), or which those that they lead to are to forget (shed),
-- or for a task that was revived, and those that ended because of it are to be (revive).
local jobs = {}

-- revive_later is for followers of a task that was revived, after a number.
function revive_later(t, from)
  if t.followed then
    jobs[#jobs + 1] = { revive = t.id, upto = number(), from = from }
  end
end

local EDGE = 18 -- bytes

-- some_edges reads the first edges of a text, and loads what they lead to.
local function some_edges(packed, most)
  local list, ids = {}, {}
  for i = 1, math.min(#packed, most * EDGE), EDGE do
    local id = packed:sub(i, i + 15)
    list[#list + 1] = { id = id, need = packed:sub(i + 16, i + 16), input = packed:sub(i + 17, i + 17) }
    ids[#ids + 1] = id
  end
  load(ids)
  return list
end

local function drop_some(packed, most)
  for _, d in ipairs(some_edges(packed, most)) do
    if d.input == '\1' then
      unwant(d.id)
    end
  end
  return packed:sub(most * EDGE + 1)
end

local function let_go(t, kind)
  local field = kind == 'o' and 'holds_own' or 'holds_after'
  if not t[field] then
    return
  end
  t[field] = nil
  change(t)
  local rest = drop_some(get(P .. (kind == 'o' and 'd:' or 'D:') .. t.id) or '', AT_ONCE)
  if #rest > 0 then
    jobs[#jobs + 1] = { drop = rest }
  end
end

-- free ends that results are kept for a task.
free = function(t)
  let_go(t, 'o')
  let_go(t, 'a')
end

-- shed_some removes edges of a task from what those have that it follows.
local function shed_some(id, kind, packed, most)
  for _, d in ipairs(some_edges(packed, most)) do
    local key = P .. 'b:' .. d.id
    zset(key, id .. kind, false)
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
  return packed:sub(most * EDGE + 1)
end

local function shed(t, kind, most)
  local key = P .. (kind == 'o' and 'd:' or 'D:') .. t.id
  local rest = shed_some(t.id, kind, get(key) or '', most)
  if #rest > 0 then
    jobs[#jobs + 1] = { shed = rest, id = t.id, kind = kind }
  end
  set(key, false)
end

-- leave ends that a task follows those to which it has handed over.
function leave(t)
  if t.after then
    let_go(t, 'a')
    shed(t, 'a', math.huge) -- at once: it may follow them again
    t.after = nil
    change(t)
  end
end

-- untie is for a task that is forgotten: it follows nobody any more, and those that follow it know how it has ended.
untie = function(t)
  if t.own or t.after then
    free(t)
    if t.after then
      let_go(t, 'a')
      shed(t, 'a', AT_ONCE)
    end
    if t.own then
      shed(t, 'o', AT_ONCE)
    end
    redis.call('UNLINK', P .. 'o:' .. t.id)
  end
  if depended[t.id] or t.followed and zcard(P .. 'b:' .. t.id) > 0 then
    local message
    if not t.why and t.status ~= SUCCESS then
      message = why_of(t.id, t).message
    end
    set(P .. 'y:' .. t.id, cmsgpack.pack({ status = t.status, name = t.name, why = t.why, message = message }))
    set(P .. 'yy', '1')
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
function waits(t, unmet, how)
  if unmet then
    become(t, WAITING)
    block(t, unmet, how)
  elseif t.open > 0 or t.manual then
    stay(t)
  else
    pend(t)
  end
end

fall_out = function(t)
  if t.followed then
    jobs[#jobs + 1] = { tell = t.id, upto = number(), from = 0 }
  end
end

-- lead tells a follower that what it may wait for has ended.
local function lead(id, how, member)
  local follower, kind = member:sub(1, 16), member:sub(17, 17)
  local t = head(follower)
  if not t or (kind == 'a') ~= (t.resumed == true) then
    return
  end
  local open = redis.call('HGET', P .. 'o:' .. follower, id)
  if not open then
    return
  end
  redis.call('HDEL', P .. 'o:' .. follower, id) -- written at once: it is to be told once
  local need, inputs = open:sub(1, 1), tonumber(open:sub(2))
  t.open = t.open - 1
  if inputs > 0 then
    t.load = t.load + inputs * (how.size or 0)
  end
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
  local how = ending(job.tell)
  if not how then
    return 0, true -- it was requeued
  end
  local list = some_followers(job.tell, job.from, job.upto, most)
  for i = 1, #list, 2 do
    job.from = tonumber(list[i + 1])
    lead(job.tell, how, list[i])
  end
  return #list / 2, #list / 2 < most
end

-- work_some does a part of a job.
local function work_some(job, most)
  if job.tell then
    return tell_some(job, most)
  elseif job.revive then
    return revive_some(job, most)
  elseif job.drop then
    job.drop = drop_some(job.drop, most)
    return most, #job.drop == 0
  elseif head(job.id) then
    return 0, true -- another task has the ID, and its edges may be the same
  end
  job.shed = shed_some(job.id, job.kind, job.shed, most)
  return most, #job.shed == 0
end

-- work does jobs, or a part of them: those of this script, then those of scripts before. The list of what is left is written at once.
function work(most)
  local left, i = most, 1
  while jobs[i] and left > 0 do
    local n, all = work_some(jobs[i], left)
    left = left - n
    if all then
      i = i + 1
    end
  end
  local rest = {}
  for k = i, #jobs do
    rest[#rest + 1] = jobs[k]
  end
  jobs = {}
  while left > 0 do
    local packed = redis.call('LINDEX', P .. 'j', 0)
    if not packed then
      break
    end
    local job = cmsgpack.unpack(packed)
    local n, all = work_some(job, left)
    left = left - n
    if all then
      redis.call('LPOP', P .. 'j')
    else
      redis.call('LSET', P .. 'j', 0, cmsgpack.pack(job))
    end
  end
  for _, job in ipairs(jobs) do -- what has come of those
    rest[#rest + 1] = job
  end
  jobs = {}
  for k, job in ipairs(rest) do
    rest[k] = cmsgpack.pack(job)
  end
  if #rest > 0 then
    bulk('RPUSH', P .. 'j', rest)
    publish('w')
  end
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

function flow_known(id) return zcard(P .. 'w:' .. id) > 0 end

-- write_flows is a part of flush.
function write_flows()
  for id, counts in pairs(flow_counts) do
    for status, n in pairs(counts) do
      if n ~= 0 and redis.call('HINCRBY', P .. 'wn:' .. id, status, n) == 0 then
        redis.call('HDEL', P .. 'wn:' .. id, status)
      end
    end
  end
end

end
