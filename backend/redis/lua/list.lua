#!lua flags=allow-oom
-- library: core
-- Returns tasks of one state or one flow, some of those after a number. It looks at so many, and the program calls again.
if A.first then
  advance()
end
flush()
local looks = 500
if not (A.name or A.worker or A.contains or A.lane or A.flow) then
  looks = math.min(looks, A.max + 1) -- it wants nearly all that it sees
end

local lists = {} -- sets of tasks by number
if A.flow then
  lists[1] = P .. 'w:' .. A.flow
elseif A.queue then
  lists[1] = list_key(A.status, A.queue)
else
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'qs')) do
    lists[#lists + 1] = list_key(A.status, name)
  end
end
if A.after > tonumber(redis.call('GET', P .. 'seq') or 0) then
  return { 'invalid' }
end

-- Of each set so many, and of these those that are in their place whatever the sets have more of.
local each_most = math.max(math.ceil(looks / math.max(#lists, 1)), 10)
local rows, bound = {}, nil
local function before(a, b)
  if A.newest then
    return a > b
  end
  return a < b
end
for _, key in ipairs(lists) do
  local found
  if A.newest then
    found = redis.call('ZREVRANGEBYSCORE', key, A.after > 0 and string.format('(%.0f', A.after) or '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, each_most)
  else
    found = redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', A.after), '+inf', 'WITHSCORES', 'LIMIT', 0, each_most)
  end
  for i = 1, #found, 2 do
    rows[#rows + 1] = { id = found[i], row = tonumber(found[i + 1]) }
  end
  if #found == 2 * each_most then
    local last = rows[#rows].row
    if not bound or before(last, bound) then
      bound = last
    end
  end
end
table.sort(rows, function(a, b) return before(a.row, b.row) end)
local ids = {}
for i = 1, math.min(#rows, 2 * looks) do -- of very many sets there are more
  ids[i] = rows[i].id
end
load(ids)

local function has(text) return text and text:find(A.contains, 1, true) ~= nil end

-- error_has reports whether a JSON document, or a member of it, is an error with the text.
local function error_has(json, member)
  if not json then
    return false
  end
  local ok, e = pcall(cjson.decode, json)
  if ok and member then
    e = e[member]
  end
  return ok and type(e) == 'table' and (has(type(e.type) == 'string' and e.type) or has(type(e.message) == 'string' and e.message)) or false
end

local function wants(t)
  if A.queue and t.queue ~= A.queue or A.lane and t.lane ~= A.lane or A.status and t.status ~= A.status or A.name and t.name ~= A.name
    or A.worker and t.worker ~= A.worker then
    return false
  end
  if not A.contains then
    return true
  end
  -- What a result says that is made when it is read the program looks at.
  return t.why ~= nil or has(get(P .. 'e:' .. t.id)) or error_has(get(P .. 'f:' .. t.id))
    or t.status == FAILURE and error_has(get(P .. 'r:' .. t.id), 'error')
    or t.recorded and t.status ~= SUCCESS and error_has(get(P .. 'r:' .. t.id), 'error')
end

local page, last, ended = {}, A.after, true
for i, row in ipairs(rows) do
  if bound and before(bound, row.row) or #page == A.max or i > #ids then
    ended = false
    break
  end
  last = row.row
  local t = heads[row.id]
  if t and wants(t) then
    page[#page + 1] = view(t)
  end
end
if bound then
  ended = false
end
return { 'done', ended and 1 or 0, last, page }
