-- Unique keys. Each is a string: the ID of the task that holds it, and until when: 0 until that is final. One that is held
-- for a time goes by itself.

local holds, changed_holds = {}, {}

local function unique_key(name, key) return P .. 'u:' .. name .. '\0' .. key end

-- id_key is the key of an ID that is kept. No task has an empty name.
local function id_key(id) return P .. 'u:\0' .. id end

local function load_holds(keys)
  local missing = {}
  for _, key in ipairs(keys) do
    if holds[key] == nil then
      holds[key] = false
      missing[#missing + 1] = key
    end
  end
  for i, value in ipairs(mget(missing)) do
    if value then
      holds[missing[i]] = { id = value:sub(1, 16), till = struct.unpack('>d', value, 17) }
    end
  end
end

local function hold(key)
  if holds[key] == nil then
    load_holds({ key })
  end
  return holds[key]
end

local function drop_hold(key)
  holds[key] = false
  changed_holds[key] = true
end

-- holder tells which task has a key now: nil for none. Till is until when, 0 until that is final.
local function holder(key)
  local own = hold(key)
  if own and own.till == 0 then
    task(own.id) -- it may be final by now
    own = hold(key)
  elseif own and own.till <= now then
    drop_hold(key)
    own = nil
  end
  if own then
    return own.id, own.till
  end
end

-- take_key gives a task a key: for a time or, where that is zero, until it is final. Who had it goes on without it.
local function take_key(key, id, duration)
  local own = hold(key)
  if not own then
    own = { till = 0 }
    holds[key] = own
  end
  own.id = id
  if duration > 0 then
    own.till = now + duration
  end
  changed_holds[key] = true
end

release_key = function(t)
  local key = unique_key(t.name, t.unique)
  local own = hold(key)
  if own and own.id == t.id and own.till == 0 then
    drop_hold(key)
  end
end

-- write_holds is a part of flush.
local function write_holds()
  for key in pairs(changed_holds) do
    local own = holds[key]
    if not own then
      redis.call('DEL', key)
    elseif own.till == 0 then
      redis.call('SET', key, own.id .. struct.pack('>d', 0))
    else
      redis.call('SET', key, own.id .. struct.pack('>d', own.till), 'PX', math.max(math.ceil((own.till - now) / 1000), 1))
    end
  end
end
