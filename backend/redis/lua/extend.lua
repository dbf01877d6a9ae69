#!lua flags=allow-oom
-- library: core
-- Makes leases end later.
local answers = each(A.leases, function(l)
  local t = leased(l.id, l.token)
  if not t then
    return why_lost(l.id)
  end
  if now + A.by > t.at then
    comes(t, now + A.by)
  end
end)
flush()
return answers
