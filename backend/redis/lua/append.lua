#!lua
-- library: core
-- Keeps events of tasks that another engine queues.
for _, e in ipairs(A.list) do
  add_event({ id = e.id, json = e.json })
end
flush()
return 0
