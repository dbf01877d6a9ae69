#!lua flags=allow-oom
-- library: core
-- Ends tasks that are not final.
local answers = each_task(A.ids, function(t)
  if not final(t) then
    cancel(t)
  elseif t.status ~= CANCELLED then
    return state_error(t, 'one that is not final')
  end
end)
flush()
return answers
