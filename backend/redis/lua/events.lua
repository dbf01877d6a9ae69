#!lua flags=allow-oom
-- library: base event
-- Returns events after a cursor: oldest, latest or a number. They are as they are kept.
trim(10 * AT_ONCE)
local last, gone = last_event(), gone_events()
if last == 0 and not A.events then
  return { 'none' } -- nobody has ever kept one
end
local after
if A.after == 'oldest' then
  after = gone
elseif A.after == 'latest' then
  after = last
else
  after = A.after
  if after > last then
    return { 'invalid' }
  elseif after < gone then
    return { 'gone' }
  end
end
local found = {}
if A.task then
  local n = tonumber(redis.call('HGET', P .. 'evt', A.task) or 0)
  local chain = {}
  while n > math.max(after, gone) do
    local entry = redis.call('XRANGE', P .. 'ev', string.format('%.0f-0', n), string.format('%.0f-0', n))[1]
    if not entry then
      break
    end
    chain[#chain + 1] = { n, entry[2][2] }
    n = cmsgpack.unpack(entry[2][2]).before or 0
  end
  for i = #chain, math.max(#chain - A.max + 1, 1), -1 do
    found[#found + 1] = chain[i]
  end
else
  for _, entry in ipairs(redis.call('XRANGE', P .. 'ev', string.format('(%.0f-0', after), '+', 'COUNT', A.max)) do
    found[#found + 1] = { tonumber(entry[1]:match('^%d+')), entry[2][2] }
  end
end
return { 'done', after, last, found }
