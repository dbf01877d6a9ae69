package redis_test

import (
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/redis"
)

// startCluster starts three servers that share the slots, and returns its URL.
func startCluster(t *testing.T) string {
	t.Helper()
	const slots, n = 16384, 3
	var clients []rueidis.Client
	var addrs []string
	for i := range n {
		s := ownServer(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true})
		require.NoError(t, err)
		t.Cleanup(c.Close)
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
	return "redis://" + addrs[0] + "?addr=" + addrs[1] + "&addr=" + addrs[2]
}

// What is true of a server is true of a cluster.
func TestConformanceOfCluster(t *testing.T) {
	at := startCluster(t)
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
}
