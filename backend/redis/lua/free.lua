#!lua flags=allow-oom
-- library: core
-- Takes unique keys from those that hold them.
local answers = each(A.keys, function(k)
  local key = unique_key(k.name, k.key)
  if not holder(key) then
    return { 'not found' }
  end
  drop_hold(key)
end)
flush()
return answers
