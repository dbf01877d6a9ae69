package redis_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// startCluster starts three servers that share the slots, and returns its URL and a client of each.
func startCluster(t *testing.T) (at string, nodes []rueidis.Client) {
	t.Helper()
	const slots, n = 16384, 3
	var clients []rueidis.Client
	var addrs []string
	for i := range n {
		s := ownServer(t, "--cluster-enabled", "yes", "--cluster-port", redisserver.AnyPort)
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		do(t, c, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)) // the newest owner of a slot is known by it
		do(t, c, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/n), strconv.Itoa((i+1)*slots/n-1))
		if i > 0 {
			host, port, _ := strings.Cut(addrs[0], ":")
			info, err := clients[0].Do(t.Context(), clients[0].B().Arbitrary("CLUSTER", "NODES").Build()).ToString()
			require.NoError(t, err)
			_, bus, _ := strings.Cut(strings.Fields(info)[1], "@") // host:port@bus
			bus, _, _ = strings.Cut(bus, ",")
			do(t, c, "CLUSTER", "MEET", host, port, bus)
		}
		clients, addrs = append(clients, c), append(addrs, s.Addr())
	}
	for _, c := range clients {
		require.Eventually(t, func() bool {
			info, err := c.Do(t.Context(), c.B().ClusterInfo().Build()).ToString()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		}, time.Minute, 10*time.Millisecond)
	}
	return "redis://" + addrs[0] + "?addr=" + addrs[1] + "&addr=" + addrs[2], clients
}

// What is true of a server is true of a cluster.
func TestConformanceOfCluster(t *testing.T) {
	t.Parallel()
	at, nodes := startCluster(t)
	open := func(t *testing.T, name string) omniq.Backend {
		t.Helper()
		b, err := redis.Open(t.Context(), at, redis.WithNamespace(name), redis.WithEvents(time.Hour), redis.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		return b
	}
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, uuid.NewString()) }, backendtest.Quick())
	t.Run("two processes", func(t *testing.T) {
		name := uuid.NewString()
		live(t, open(t, name))
		live(t, open(t, name))
	})
	t.Run("a slot moves", func(t *testing.T) { testMovedSlot(t, at, nodes) })
}

// testMovedSlot moves the slot of a namespace from server to server while tasks are enqueued and worked, key by key: calls wait meanwhile,
// and nothing is split.
func testMovedSlot(t *testing.T, at string, nodes []rueidis.Client) {
	name := uuid.NewString()
	log := redis.WithLogger(slog.New(slog.DiscardHandler))
	b, err := redis.Open(t.Context(), at, redis.WithNamespace(name), redis.WithEvents(time.Hour), log)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
	w, err := omniq.NewWorker(b, omniq.Handlers(echo), omniq.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { worked <- w.Run(ctx) }()
	produce, end := context.WithCancel(t.Context())
	var handles []*omniq.Handle[int]
	var stored atomic.Int64
	produced := make(chan error, 1)
	go func() {
		for produce.Err() == nil {
			h, err := echo.Enqueue(t.Context(), client, omniq.MakeArgs1(len(handles)), omniq.ResultTTL(time.Hour))
			if err != nil {
				produced <- err
				return
			}
			handles = append(handles, h)
			stored.Add(1)
		}
		produced <- nil
	}()
	slot, err := nodes[0].Do(t.Context(), nodes[0].B().ClusterKeyslot().Key("{"+name+"}:").Build()).AsInt64()
	require.NoError(t, err)
	for range 2 {
		before := stored.Load()
		require.Eventually(t, func() bool { return stored.Load() > before+20 }, time.Minute, time.Millisecond)
		from := slices.IndexFunc(nodes, func(c rueidis.Client) bool {
			n, err := c.Do(t.Context(), c.B().ClusterCountkeysinslot().Slot(slot).Build()).AsInt64()
			return err == nil && n > 0
		})
		moveSlot(t, nodes, slot, from, (from+1)%len(nodes))
	}
	end()
	require.NoError(t, <-produced)
	for i, h := range handles {
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	stop()
	require.NoError(t, <-worked)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, len(handles), stats[0].Succeeded)
	assert.Zero(t, stats[0].Ready+stats[0].Running)
}

// moveSlot moves a slot as redis-cli does.
func moveSlot(t *testing.T, nodes []rueidis.Client, slot int64, from, to int) {
	t.Helper()
	ids, addrs := make([]string, len(nodes)), make([]string, len(nodes))
	for i, c := range nodes {
		id, err := c.Do(t.Context(), c.B().Arbitrary("CLUSTER", "MYID").Build()).ToString()
		require.NoError(t, err)
		ids[i] = id
		for addr := range c.Nodes() {
			addrs[i] = addr
		}
	}
	number := strconv.FormatInt(slot, 10)
	host, port, _ := strings.Cut(addrs[to], ":")
	do(t, nodes[to], "CLUSTER", "SETSLOT", number, "IMPORTING", ids[from])
	do(t, nodes[from], "CLUSTER", "SETSLOT", number, "MIGRATING", ids[to])
	for {
		c := nodes[from]
		keys, err := c.Do(t.Context(), c.B().ClusterGetkeysinslot().Slot(slot).Count(10).Build()).AsStrSlice()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		do(t, c, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
	}
	for _, i := range []int{to, from, 3 - to - from} {
		do(t, nodes[i], "CLUSTER", "SETSLOT", number, "NODE", ids[to])
	}
}
