package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
)

var floorRedis = floorSystem("sorted sets and strings, 100 tasks a script, 4 goroutines", 4, openFloorRedis)

// A task is a string, t:, with its place in the order of all before it. That place and its ID are a member of the set pending if it is
// due, else of later. A lease is a member of the set running, with its token. A result is a string, r:. The hash counts has how many there
// are in each state.
var (
	floorRedisInsert = rueidis.NewLuaScript(`
		local now = ARGV[1]
		local keys, ids = {}, {}
		for i = 2, #ARGV, 4 do
			local id = ARGV[i]
			keys[#keys + 1], keys[#keys + 2] = 't:' .. id, 'r:' .. id
		end
		local there = redis.call('MGET', unpack(keys))
		local sets, pending, later, n = {}, {}, {}, 0
		for i = 2, #ARGV, 4 do
			local place = (i - 2) / 2
			if not there[place + 1] and not there[place + 2] and not ids[ARGV[i]] then
				local id, order, due = ARGV[i], ARGV[i + 1], ARGV[i + 2]
				ids[id] = true
				n = n + 1
				sets[2 * n - 1], sets[2 * n] = 't:' .. id, order .. ARGV[i + 3]
				local set = tonumber(due) > tonumber(now) and later or pending
				set[#set + 1], set[#set + 2] = set == later and due or 0, order .. id
			end
		end
		if n > 0 then
			redis.call('MSET', unpack(sets))
			redis.call('HINCRBY', 'counts', 1, n)
		end
		if #pending > 0 then
			redis.call('ZADD', 'pending', unpack(pending))
		end
		if #later > 0 then
			redis.call('ZADD', 'later', unpack(later))
		end
		return n`)
	floorRedisLease = rueidis.NewLuaScript(`
		local most, now, ends, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
		local due = redis.call('ZRANGEBYSCORE', 'later', '-inf', now, 'LIMIT', 0, 100)
		for _, member in ipairs(due) do
			redis.call('ZREM', 'later', member)
			redis.call('ZADD', 'pending', 0, member)
		end
		local lost = redis.call('ZRANGEBYSCORE', 'running', '-inf', now, 'LIMIT', 0, 100)
		for _, lease in ipairs(lost) do
			redis.call('ZREM', 'running', lease)
			local id = lease:sub(1, 16)
			redis.call('ZADD', 'pending', 0, redis.call('GETRANGE', 't:' .. id, 0, 19) .. id)
		end
		local popped = redis.call('ZPOPMIN', 'pending', most)
		local ids, keys, leases = {}, {}, {}
		for i = 1, #popped, 2 do
			local id = popped[i]:sub(21)
			ids[#ids + 1] = id
			keys[#keys + 1] = 't:' .. id
			leases[#leases + 1], leases[#leases + 2] = ends, id .. token
		end
		if #lost ~= #ids then
			redis.call('HINCRBY', 'counts', 1, #lost - #ids)
			redis.call('HINCRBY', 'counts', 2, #ids - #lost)
		end
		if #ids == 0 then
			return { {}, {} }
		end
		redis.call('ZADD', 'running', unpack(leases))
		local tasks = redis.call('MGET', unpack(keys))
		for i, task in ipairs(tasks) do
			tasks[i] = task:sub(21)
		end
		return { ids, tasks }`)
	floorRedisSettle = rueidis.NewLuaScript(`
		local now, token = tonumber(ARGV[1]), ARGV[2]
		local leases = {}
		for i = 3, #ARGV do
			leases[i - 2] = ARGV[i] .. token
		end
		local held = redis.call('ZMSCORE', 'running', unpack(leases))
		local ended, keys, sets = {}, {}, {}
		for i, lease in ipairs(leases) do
			if held[i] and tonumber(held[i]) > now then
				ended[#ended + 1] = lease
				keys[#ended] = 't:' .. ARGV[i + 2]
				sets[#sets + 1], sets[#sets + 2] = 'r:' .. ARGV[i + 2], '{"status":"SUCCESS","data":null}'
			end
		end
		if #ended > 0 then
			redis.call('ZREM', 'running', unpack(ended))
			redis.call('UNLINK', unpack(keys))
			redis.call('MSET', unpack(sets))
			redis.call('HINCRBY', 'counts', 2, -#ended)
			redis.call('HINCRBY', 'counts', 3, #ended)
		end
		return #ended`)
)

type floorRedisStore struct{ *rawRedisStore }

func openFloorRedis(_ context.Context, o opening) (floorStore, error) {
	s, err := openRawRedis(o)
	return floorRedisStore{s}, err
}

func (s floorRedisStore) enqueue(ctx context.Context, tasks []handTask) (int, error) {
	args := make([]string, 0, 1+4*len(tasks))
	args = append(args, strconv.FormatInt(time.Now().UnixMicro(), 10))
	for i := range tasks {
		t := &tasks[i]
		due := t.due.UnixMicro()
		order := fmt.Sprintf("%04x%016x", 1<<15-t.priority, due) // as text it sorts by the higher priority, then the earlier time
		args = append(args, string(t.id[:]), order, strconv.FormatInt(due, 10), t.args)
	}
	n, err := floorRedisInsert.Exec(ctx, s.client, nil, args).AsInt64()
	return int(n), err
}

func (s floorRedisStore) lease(ctx context.Context, most int, lasts time.Duration) (handLease, error) {
	now, token := time.Now(), rand.Int64()
	l, err := leasedOf(floorRedisLease.Exec(ctx, s.client, nil, []string{
		strconv.Itoa(most), strconv.FormatInt(now.UnixMicro(), 10), strconv.FormatInt(now.Add(lasts).UnixMicro(), 10), strconv.FormatInt(token, 10),
	}))
	l.token = token
	return l, err
}

func (s floorRedisStore) settle(ctx context.Context, l handLease) (int, error) {
	args := append([]string{strconv.FormatInt(time.Now().UnixMicro(), 10), strconv.FormatInt(l.token, 10)}, textsOf(l.ids)...)
	n, err := floorRedisSettle.Exec(ctx, s.client, nil, args).AsInt64()
	return int(n), err
}

func (s floorRedisStore) result(ctx context.Context, id uuid.UUID) (int, error) {
	key := string(id[:])
	if n, err := s.client.Do(ctx, s.client.B().Exists().Key("r:"+key).Build()).AsInt64(); err != nil || n == 1 {
		return handDone, err
	}
	order, err := s.client.Do(ctx, s.client.B().Getrange().Key("t:"+key).Start(0).End(19).Build()).ToString()
	if err != nil || order == "" {
		return 0, fmt.Errorf("task %v is unknown: %w", id, err)
	}
	for _, set := range []string{"pending", "later"} {
		err := s.client.Do(ctx, s.client.B().Zscore().Key(set).Member(order+key).Build()).Error()
		if !rueidis.IsRedisNil(err) {
			return handPending, err
		}
	}
	return handRunning, nil
}

func (s floorRedisStore) counts(ctx context.Context) (map[int]int, error) {
	found, err := s.client.Do(ctx, s.client.B().Hgetall().Key("counts").Build()).AsIntMap()
	counts := make(map[int]int)
	for _, state := range []int{handPending, handRunning, handDone} {
		counts[state] = int(found[strconv.Itoa(state)])
	}
	return counts, err
}

func (s floorRedisStore) left(ctx context.Context) (int, error) {
	counts, err := s.counts(ctx)
	return counts[handPending] + counts[handRunning], err
}
