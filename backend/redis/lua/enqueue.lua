#!lua
-- library: core plan
-- Stores tasks, all or none. It is refused whole while the server has no memory left.
local answers, impossible = enqueue(A.tasks)
if impossible then
  return { 'impossible', impossible }
end
flush()
return { 'done', answers }
