package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
)

var rawRedis = func() system {
	s := handSystem("raw", "raw scripts", "a list and strings, 100 tasks a script, 4 goroutines", 4,
		func(_ context.Context, o opening) (handStore, error) { return openRawRedis(o) })
	s.module = "github.com/redis/rueidis"
	return s
}()

// The scripts of what is the least that a durable queue with leases and results does on Redis: lists of IDs and tasks, in turns, are what
// they take, and the tasks that they return.
var (
	rawRedisInsert = rueidis.NewLuaScript(`
		local ids, sets = {}, {}
		for i = 1, #ARGV, 2 do
			ids[#ids + 1] = ARGV[i]
			sets[i], sets[i + 1] = 't:' .. ARGV[i], ARGV[i + 1]
		end
		redis.call('MSET', unpack(sets))
		redis.call('RPUSH', 'queue', unpack(ids))
		return #ids`)
	rawRedisLease = rueidis.NewLuaScript(`
		local ids = redis.call('LPOP', 'queue', ARGV[1])
		if not ids then
			return { {}, {} }
		end
		local keys, leases = {}, {}
		for i, id in ipairs(ids) do
			keys[i] = 't:' .. id
			leases[2 * i - 1], leases[2 * i] = ARGV[2], id
		end
		redis.call('ZADD', 'leases', unpack(leases))
		return { ids, redis.call('MGET', unpack(keys)) }`)
	rawRedisSettle = rueidis.NewLuaScript(`
		redis.call('ZREM', 'leases', unpack(ARGV))
		local keys = {}
		for i, id in ipairs(ARGV) do
			keys[i] = 't:' .. id
			redis.call('SET', 'r:' .. id, '{"status":"SUCCESS","data":null}', 'EX', 3600)
		end
		redis.call('UNLINK', unpack(keys))
		return #keys`)
)

type rawRedisStore struct {
	client rueidis.Client
	url    string
}

func openRawRedis(o opening) (*rawRedisStore, error) {
	client, err := connectRedis(o.url)
	return &rawRedisStore{client, o.url}, err
}

func (s *rawRedisStore) enqueue(ctx context.Context, tasks []handTask) (int, error) {
	args := make([]string, 0, 2*len(tasks))
	for i := range tasks {
		args = append(args, string(tasks[i].id[:]), tasks[i].args)
	}
	n, err := rawRedisInsert.Exec(ctx, s.client, nil, args).AsInt64()
	return int(n), err
}

func (s *rawRedisStore) lease(ctx context.Context, most int, lasts time.Duration) (handLease, error) {
	return leasedOf(rawRedisLease.Exec(ctx, s.client, nil, []string{fmt.Sprint(most), fmt.Sprint(time.Now().Add(lasts).UnixMicro())}))
}

// leasedOf reads a list of IDs and one of tasks.
func leasedOf(answer rueidis.RedisResult) (l handLease, err error) {
	lists, err := answer.ToArray()
	if err != nil {
		return l, err
	}
	ids, err := lists[0].AsStrSlice()
	if err != nil {
		return l, err
	}
	for _, id := range ids {
		l.ids = append(l.ids, uuid.UUID([]byte(id)))
	}
	l.args, err = lists[1].AsStrSlice()
	return l, err
}

func textsOf(ids []uuid.UUID) []string {
	texts := make([]string, len(ids))
	for i := range ids {
		texts[i] = string(ids[i][:])
	}
	return texts
}

func (s *rawRedisStore) settle(ctx context.Context, l handLease) (int, error) {
	n, err := rawRedisSettle.Exec(ctx, s.client, nil, textsOf(l.ids)).AsInt64()
	return int(n), err
}

func (s *rawRedisStore) left(ctx context.Context) (n int, err error) {
	for _, command := range []rueidis.Completed{
		s.client.B().Llen().Key("queue").Build(), s.client.B().Zcard().Key("leases").Build(),
	} {
		some, err := s.client.Do(ctx, command).AsInt64()
		if err != nil {
			return 0, err
		}
		n += int(some)
	}
	return n, nil
}

func (s *rawRedisStore) close() error {
	s.client.Close()
	return emptyRedis(context.Background(), s.url)
}
