#!lua
-- library: core
-- Gives tasks other envelopes, which the program has made of those that it has read: of a task whose envelope is another one by now it
-- says so, and is asked again.
local answers = each(A.updates, function(u)
  local t = task(u.id)
  if not t then
    return { 'not found' }
  elseif t.status ~= u.status then
    return state_error(t, 'one that is ' .. u.want)
  elseif t.name ~= u.name then
    return { 'name', t.name or '' }
  elseif t.recorded then
    return state_error(t, 'one that was queued here')
  elseif not u.old then
    return { 'envelope', get(P .. 'e:' .. u.id) or '' }
  elseif get(P .. 'e:' .. u.id) ~= u.old then
    return { 'envelope', get(P .. 'e:' .. u.id) or '' }
  end
  set(P .. 'e:' .. u.id, u.new)
  if u.due then
    hasten(t)
  end
end)
flush()
return answers
