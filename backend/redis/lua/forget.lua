#!lua flags=allow-oom
-- library: core
-- Removes results before their time is over.
local answers = each_task(A.ids, function(t)
  if not final(t) then
    return state_error(t, 'one that is final')
  elseif t.wanted > 0 then
    return { 'needed' }
  end
  remove(t)
end)
flush()
return answers
