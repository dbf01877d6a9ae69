package redis_test

import (
	"context"
	"flag"
	"log/slog"
	"strings"
	"sync"
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

// All rules are asked of backends that keep events, which do all that the others do.
func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, redis.WithEvents(time.Hour)) },
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, redis.WithEvents(retention))
		}),
		backendtest.Skewed(func(t *testing.T, by time.Duration) omniq.Backend { return open(t, redis.WithSkew(by)) }),
		backendtest.Shared(func(t *testing.T, retention, ofOther time.Duration) (one, other omniq.Backend) {
			name := namespace(t)
			var opts []redis.Option
			if ofOther > 0 {
				opts = append(opts, redis.WithEvents(ofOther))
			}
			return openIn(t, name, redis.WithEvents(retention)), openIn(t, name, opts...)
		}))
}

// What is true with events is true without.
func TestConformanceWithoutEvents(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t) }, backendtest.Quick())
}

var consistent = flag.Bool("consistent", false, "whether it is looked at what each test has left")

// namespace returns one of the test's own, which is emptied when the test has ended.
func namespace(t testing.TB) string {
	t.Helper()
	at := url(t)
	name := "test-" + strings.ReplaceAll(uuid.NewString(), "-", "")
	t.Cleanup(func() {
		if t, ok := t.(*testing.T); ok && *consistent && !t.Failed() {
			checkConsistent(t, at, name)
		}
		c, err := sweeper()
		require.NoError(t, err)
		for cursor := uint64(0); ; {
			found, err := c.Do(context.Background(), c.B().Scan().Cursor(cursor).Match("{"+name+"}:*").Count(1000).Build()).AsScanEntry()
			if !assert.NoError(t, err) {
				return
			}
			if len(found.Elements) > 0 {
				assert.NoError(t, c.Do(context.Background(), c.B().Unlink().Key(found.Elements...).Build()).Error())
			}
			if cursor = found.Cursor; cursor == 0 {
				return
			}
		}
	})
	return name
}

// sweeper is the client by which the tests' namespaces are emptied.
var sweeper = sync.OnceValues(func() (rueidis.Client, error) {
	at, err := commonURL()
	if err != nil {
		return nil, err
	}
	option, err := rueidis.ParseURL(at)
	if err != nil {
		return nil, err
	}
	option.DisableCache = true
	return rueidis.NewClient(option)
})

func open(t testing.TB, opts ...redis.Option) *redis.Backend {
	t.Helper()
	return openIn(t, namespace(t), opts...)
}

func openIn(t testing.TB, name string, opts ...redis.Option) *redis.Backend {
	t.Helper()
	opts = append([]redis.Option{redis.WithNamespace(name), redis.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	b, err := redis.Open(context.Background(), url(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}
