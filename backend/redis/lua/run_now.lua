#!lua flags=allow-oom
-- library: core
-- Makes pending tasks due now.
local answers = each_task(A.ids, function(t)
  if t.status ~= PENDING then
    return state_error(t, 'a pending one')
  end
  hasten(t)
end)
flush()
return answers
