package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// stall is the time after which a task was overlooked: those that are ready start within milliseconds, and what is
// overlooked stands for a minute.
const stall = 10 * time.Second

// gaps measures the time between the steps of something that never stands still.
type gaps struct {
	mu    sync.Mutex
	steps int
	last  time.Time
	worst time.Duration
	ended chan struct{} // closed after enough steps
	want  int
}

func newGaps(want int) *gaps { return &gaps{last: time.Now(), ended: make(chan struct{}), want: want} }

// step returns how many there were.
func (g *gaps) step() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.worst, g.last = max(g.worst, now.Sub(g.last)), now
	g.steps++
	if g.steps == g.want {
		close(g.ended)
	}
	return g.steps
}

// wait waits for the last step, and fails when there was none for too long.
func (g *gaps) wait(tb testing.TB) {
	tb.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-g.ended:
			return
		case <-tick.C:
			g.mu.Lock()
			stands, steps := time.Since(g.last), g.steps
			g.mu.Unlock()
			require.Less(tb, stands, stall, "it stands still after %d steps", steps)
		}
	}
}

// work runs a worker for each backend until the test ends.
func work(tb testing.TB, backends []*sqlite.Backend, places int, handlers ...omniq.Handler) {
	tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, b := range backends {
		w, err := omniq.NewWorker(b, omniq.Handlers(handlers...), omniq.Concurrency(places),
			omniq.RetryDelays(func(omniq.Failure) time.Duration { return 0 }, 0), omniq.Logger(slog.New(slog.DiscardHandler)))
		require.NoError(tb, err)
		all.Go(func() { assert.NoError(tb, w.Run(ctx)) })
	}
	tb.Cleanup(func() { stop(); all.Wait() })
}

// busy is something that never stands still: it starts, and steps g until that has enough.
type busy struct {
	name  string
	start func(tb testing.TB, backends []*sqlite.Backend, places int, g *gaps)
}

var busies = []busy{
	// Each handler enqueues the next task before it returns, in another process if there are two.
	{"chain", func(tb testing.TB, backends []*sqlite.Backend, places int, g *gaps) {
		next := omniq.ReferArgs[omniq.Args1[int], omniq.Void]("next")
		var clients []*omniq.Client
		for _, b := range backends {
			c, err := omniq.NewClient(b)
			require.NoError(tb, err)
			clients = append(clients, c)
		}
		work(tb, backends, places, omniq.DefineArgsVoid("next", func(ctx context.Context, a omniq.Args1[int]) error {
			if g.step() >= g.want {
				return nil
			}
			_, err := next.Enqueue(ctx, clients[a.V1%len(clients)], omniq.MakeArgs1(a.V1+1))
			return err
		}))
		_, err := next.Enqueue(tb.Context(), clients[0], omniq.MakeArgs1(0))
		require.NoError(tb, err)
	}},
	// Somebody enqueues and waits, again and again; the worker is in the other process if there are two.
	{"ping-pong", func(tb testing.TB, backends []*sqlite.Backend, places int, g *gaps) {
		c, err := omniq.NewClient(backends[0])
		require.NoError(tb, err)
		echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
		work(tb, backends[len(backends)-1:], places, echo)
		var caller sync.WaitGroup
		caller.Go(func() {
			for i := 0; ; i++ {
				ctx, cancel := context.WithTimeout(tb.Context(), 2*stall)
				h, err := echo.Enqueue(ctx, c, omniq.MakeArgs1(i))
				if err == nil {
					_, err = h.Wait(ctx)
				}
				cancel()
				if tb.Context().Err() != nil || !assert.NoError(tb, err) || g.step() >= g.want {
					return
				}
			}
		})
		tb.Cleanup(caller.Wait)
	}},
	// A task that fails is to be tried again at once, by either process.
	{"zero delays", func(tb testing.TB, backends []*sqlite.Backend, places int, g *gaps) {
		c, err := omniq.NewClient(backends[0])
		require.NoError(tb, err)
		var odd atomic.Bool
		again := omniq.DefineNoArgsVoid("again", func(context.Context) error {
			if g.step() >= g.want {
				return nil
			}
			if odd.CompareAndSwap(false, true) {
				return omniq.RetryAfter(0, errors.New("again"))
			}
			odd.Store(false)
			return errors.New("again")
		}, omniq.Retries(1_000_000))
		work(tb, backends, places, again)
		_, err = again.Enqueue(tb.Context(), c)
		require.NoError(tb, err)
	}},
}

// A task that is ready is never overlooked, whatever comes at the same moment.
func TestNothingStandsStill(t *testing.T) {
	for _, busy := range busies {
		for _, places := range []int{1, 2, 16} {
			for _, processes := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %d places, %d processes", busy.name, places, processes), func(t *testing.T) {
					path := place(t)
					var backends []*sqlite.Backend
					for range processes {
						backends = append(backends, open(t, path, sqlite.WithSynchronousNormal()))
					}
					g := newGaps(120 / (2*processes - 1)) // from one process to the other takes two polls
					busy.start(t, backends, places, g)
					g.wait(t)
				})
			}
		}
	}
}

// BenchmarkGap reports the longest time in which a chain, ping-pong or retries at once stood still. For a minute each:
// go test -run - -bench Gap -benchtime 30000x
func BenchmarkGap(b *testing.B) {
	for _, busy := range busies {
		for _, places := range []int{1, 2, 16} {
			for _, processes := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/places=%d/processes=%d", busy.name, places, processes), func(b *testing.B) {
					path := place(b)
					var backends []*sqlite.Backend
					for range processes {
						backends = append(backends, open(b, path))
					}
					g := newGaps(b.N)
					b.ResetTimer()
					busy.start(b, backends, places, g)
					g.wait(b)
					b.ReportMetric(float64(g.worst.Microseconds())/1000, "ms-gap")
				})
			}
		}
	}
}
