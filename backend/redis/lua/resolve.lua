#!lua flags=allow-oom
-- library: core
-- Ends manual tasks with results.
local answers = each(A.results, function(r)
  local t = task(r.id)
  if not t then
    return { 'not found' }
  elseif final(t) or not t.manual then
    return state_error(t, 'a manual one that waits')
  end
  finish(t, r)
end)
flush()
return answers
