package omniq_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/memory"
)

// routed is a route by hash over two backends.
func routed(t *testing.T, open func() omniq.Backend) omniq.Backend {
	t.Helper()
	b, err := omniq.Route(map[string]omniq.Backend{"one": open(), "two": open()}, omniq.ByHash("one", "two"))
	require.NoError(t, err)
	return b
}

// With queues by hash the rules are asked in which no tasks of several queues have to do with each other.
func TestRouteIsABackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) omniq.Backend {
		return routed(t, func() omniq.Backend { return memory.New(memory.WithEvents(time.Hour)) })
	},
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return routed(t, func() omniq.Backend { return memory.New(memory.WithEvents(retention)) })
		}))
}

// With all queues in one of two, all that is asked by ID goes to both.
func TestRouteToOneOfTwo(t *testing.T) {
	t.Parallel()
	rule := func(string) string { return "one" }
	open := func(t *testing.T, retention time.Duration) omniq.Backend {
		b, err := omniq.Route(map[string]omniq.Backend{
			"one": memory.New(memory.WithEvents(retention)), "two": memory.New(memory.WithEvents(retention)),
		}, rule)
		require.NoError(t, err)
		return b
	}
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, time.Hour) }, backendtest.Events(open), backendtest.Together())
}
