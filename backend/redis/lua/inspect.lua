#!lua flags=allow-oom
-- Tells what is known of a task.
local t = task(A.id)
local found = t and view(t)
flush()
return found or false
