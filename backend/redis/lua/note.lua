#!lua
-- library: core note
-- Keeps what handlers say of their tasks.
local answers = each(A.notes, function(n)
  local t = leased(n.id, n.token)
  if not t then
    return why_lost(n.id)
  elseif n.refused then
    return { 'refused' }
  end
  keep_notes(t, n.notes)
end)
flush()
return answers
