#!lua flags=allow-oom
-- library: core
-- Starts attempts at tasks that were leased ahead.
local answers = each(A.leases, function(l)
  local t = leased(l.id, l.token)
  if not t then
    return why_lost(l.id)
  elseif t.started then
    return nil
  elseif expired(t) then
    finish(t, { status = EXPIRED, keep = t.keep_fail, why = { how = 'expired', ttl = t.ttl } })
    return { 'expired' }
  end
  t.attempt, t.started = t.attempt + 1, true
  change(t)
  tally(t, WAITED, math.min(math.max(now - t.due, 0), 31536000000000))
  note_event(t, STARTED, t.attempt, t.worker)
end)
flush()
return answers
