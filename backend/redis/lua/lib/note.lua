-- What handlers say of their tasks meanwhile.

-- keep_notes keeps what a handler has to say of its task. It is written at once.
local function keep_notes(t, n)
  if not n then
    return
  end
  local key = P .. 'n:' .. t.id
  if not t.notes then
    t.notes = true
    change(t)
  end
  if n.progress then
    redis.call('HSET', key, 'progress', n.progress)
  end
  if n.state then
    redis.call('HSET', key, 'state', n.state)
  end
  if n.stream then
    for _, item in ipairs(n.stream) do
      local last = redis.call('HINCRBY', key, 'last', 1)
      redis.call('HSETNX', key, 's:' .. item.name, '')
      redis.call('XADD', P .. 's:' .. t.id .. item.name, last .. '-0', '', item.data)
    end
    publish('s:' .. t.id)
  end
end

