#!lua flags=allow-oom
-- Ends leases. It goes on while the server has no memory left: what ends is what frees some.
local ids = {}
for i, s in ipairs(A.settlements) do
  ids[i] = s.id
end
load(ids)
local answers = each(A.settlements, function(s)
  local t = leased(s.id, s.token)
  if not t then
    return { 'lost' }
  elseif s.refused then
    return { 'refused' }
  end
  return settle(t, s)
end)
flush()
return answers
