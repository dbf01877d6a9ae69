-- The files of lib are put before a script that names them: this one first. A script is one step: what it reads it changes in
-- tables of its own, and flush writes the differences at the end. So a script that fails has written nothing, but for the little
-- that is written at once because it is to be read again; where that is, it says so.
--
-- All functions are made anew for each run, and to make one Lua looks for each variable that it takes from outside among all those that
-- are taken by now, the newest first. So files with many functions stand in a block, which ends that for their own variables, and take
-- those that they use most from new ones: that is a third of the time of a small script.

local P = KEYS[1] -- what the names of all keys of the namespace begin with: the hash tag, so that they are in one slot
local A = cmsgpack.unpack(ARGV[1])

math.randomseed(A.seed) -- each run of a script would have the same chance otherwise
local clock = redis.call('TIME')
-- Times are microseconds since 1970. A.skew is for tests alone.
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2]) + A.skew

local PENDING, RUNNING, SUCCESS, FAILURE, CANCELLED, EXPIRED, WAITING = 1, 2, 3, 4, 5, 6, 7
local ENQUEUED, STARTED, COMPLETED, FAILED, RETRIED, WAS_CANCELLED, HAS_EXPIRED = 1, 2, 3, 4, 5, 6, 7
local FINISH, RETRY, RELEASE, DEFER, WAIT = 1, 2, 3, 4, 5
local REFUSE, REPLACE, BEHIND = 0, 1, 2

-- How many things happen by themselves at the most in one script. What is left is taken up by the next one, whoever calls it.
local AT_ONCE = 100

-- Functions that call each other across files.
local finish, pend, stay, push, unready, ran, free, untie, over, arrange, note_event, fall_out, join, part, member_count, some_followers,
  revive_some

-- bulk calls a command with a list of arguments, in parts that Lua's stack can hold. Pairs are not torn apart.
local function bulk(command, key, list)
  for i = 1, #list, 4000 do
    local last = math.min(i + 3999, #list)
    if key then
      redis.call(command, key, unpack(list, i, last))
    else
      redis.call(command, unpack(list, i, last))
    end
  end
end

-- mget returns the values of keys, false for none, in a list.
local function mget(keys)
  local values = {}
  for i = 1, #keys, 4000 do
    local part = redis.call('MGET', unpack(keys, i, math.min(i + 3999, #keys)))
    for k = 1, #part do
      values[i + k - 1] = part[k]
    end
  end
  return values
end

-- Strings: what was set here is seen here. False deletes.
local strings = {}

local function set(key, value) strings[key] = value end

local function get(key)
  local value = strings[key]
  if value == nil then
    value = redis.call('GET', key)
  end
  return value
end

-- Sorted sets: changes by member, false to remove.
local zsets = {}

local function zset(key, member, score)
  local z = zsets[key]
  if not z then
    z = {}
    zsets[key] = z
  end
  z[member] = score or false
end

-- zflush writes the changes of one set, so that it can be read.
local function zflush(key)
  local z = zsets[key]
  if not z then
    return
  end
  zsets[key] = nil
  local add, remove = {}, {}
  local last, text -- to make a text of a number takes long, and many are the same
  for member, score in pairs(z) do
    if score then
      if score ~= last then
        last, text = score, string.format('%.17g', score)
      end
      add[#add + 1] = text
      add[#add + 1] = member
    else
      remove[#remove + 1] = member
    end
  end
  bulk('ZREM', key, remove)
  bulk('ZADD', key, add)
end

local function zcard(key)
  zflush(key)
  return redis.call('ZCARD', key)
end

-- number gives tasks, rows, turns and edges their places, each higher than all before.
local numbers

local function number()
  numbers = (numbers or tonumber(redis.call('GET', P .. 'seq') or 0)) + 1
  return numbers
end

-- Topics of which those who wait are told, by one message each. False is for a message without content.
local topics = {}

local function publish(topic, content)
  if content or not topics[topic] then
    topics[topic] = content or false
  end
end

-- tell_topics sends messages, where somebody listens: a message that nobody hears still went to each replica.
local function tell_topics()
  local channels, contents = {}, {}
  for topic, content in pairs(topics) do
    channels[#channels + 1] = P .. 'c:' .. topic
    contents[#channels] = content
  end
  topics = {}
  for i = 1, #channels, 2000 do
    local heard = redis.call('PUBSUB', 'SHARDNUMSUB', unpack(channels, i, math.min(i + 1999, #channels)))
    for k = 2, #heard, 2 do
      if heard[k] > 0 then
        local content = contents[i + k / 2 - 1]
        redis.call('SPUBLISH', heard[k - 1], content and cmsgpack.pack(content) or '')
      end
    end
  end
end

local stamped, stamp_text -- the last one: many tasks are due at the same time

-- stamp is a time as bytes that sort as times do.
local function stamp(us)
  if us ~= stamped then
    local high = math.floor(us / 4294967296)
    stamped, stamp_text = us, struct.pack('>I4I4', high + 2147483648, us - high * 4294967296)
  end
  return stamp_text
end
