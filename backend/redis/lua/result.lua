#!lua flags=allow-oom
-- library: core
-- Tells a task's result as it is now: its head, its result, and its envelope where the result is made of that. Who has waited for one
-- that is not kept finds it elsewhere for a moment.
local t = task(A.id)
local found = false
if t then
  local made = final(t) and t.why
  found = { pack(t), get(P .. 'r:' .. t.id), made and get(P .. 'e:' .. t.id) or false }
end
flush()
if not found and A.waited then
  local told = redis.call('GET', P .. 'z:' .. A.id)
  return told and { told } or false
end
return found
