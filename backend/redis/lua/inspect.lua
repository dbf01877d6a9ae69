#!lua flags=allow-oom
-- library: core
-- Tells what is known of a task.
local t = task(A.id)
local found = t and view(t)
flush()
return found or false
