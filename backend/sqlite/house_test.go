package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// clock is one that is set by hand: so far from the program's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// slow is a backend that does one small step of what happens by itself in each transaction.
func slow(t *testing.T, opts ...sqlite.Option) (*sqlite.Backend, *clock) {
	c := new(clock)
	return open(t, place(t), append(opts, sqlite.WithClock(c.now), sqlite.WithAllowance(1), sqlite.WithSynchronousNormal())...), c
}

func number(t testing.TB, b *sqlite.Backend, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, b.DB().QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

// tasksIn are n tasks of a queue.
func tasksIn(queue string, n int, with func(*omniq.RawTask)) []*omniq.RawTask {
	tasks := newTasks(n)
	for _, t := range tasks {
		t.Queue = queue
		with(t)
	}
	return tasks
}

func leaseOf(t testing.TB, b omniq.Backend, queue string, n int) []omniq.Lease {
	t.Helper()
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{queue}, Max: n, Duration: time.Minute, WorkerID: "w"})
	require.NoError(t, err)
	return leases
}

// Whatever has one moment, a transaction writes down a small part of it, and others come in between.
func TestNoTransactionDoesItAll(t *testing.T) {
	const n = 640 // twenty steps
	keep := time.Hour
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *sqlite.Backend)
		left    string // how many are still to be done at the time ?1
	}{
		{"tasks that are due", func(t *testing.T, b *sqlite.Backend) {
			enqueue(t, b, tasksIn("q", n, func(t *omniq.RawTask) { t.Delay = keep })...)
		}, "SELECT count(*) FROM omniq_tasks WHERE wake <= ?1"},
		{"tasks that expire", func(t *testing.T, b *sqlite.Backend) {
			enqueue(t, b, tasksIn("q", n, func(t *omniq.RawTask) { t.TTL = &keep })...)
		}, "SELECT count(*) FROM omniq_tasks WHERE wake <= ?1"},
		{"leases that run out", func(t *testing.T, b *sqlite.Backend) {
			enqueue(t, b, tasksIn("q", n, func(*omniq.RawTask) {})...)
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"q"}, Max: n, Duration: keep, WorkerID: "w"})
			require.NoError(t, err)
			require.Len(t, leases, n)
		}, "SELECT count(*) FROM omniq_tasks WHERE wake <= ?1"},
		{"results whose time is over", func(t *testing.T, b *sqlite.Backend) {
			tasks := tasksIn("q", n, func(t *omniq.RawTask) { t.ResultTTL = &keep })
			enqueue(t, b, tasks...)
			errs, err := b.Cancel(t.Context(), ids(tasks...))
			require.NoError(t, err)
			require.Nil(t, errs)
		}, "SELECT count(*) FROM omniq_results WHERE expires <= ?1"},
		{"keys whose time is over", func(t *testing.T, b *sqlite.Backend) {
			i := 0
			enqueue(t, b, tasksIn("q", n, func(t *omniq.RawTask) { i++; t.UniqueKey, t.UniqueFor = fmt.Sprint(i), keep })...)
		}, "SELECT count(*) FROM omniq_unique WHERE until <= ?1"},
		{"events whose time is over", func(t *testing.T, b *sqlite.Backend) {
			enqueue(t, b, tasksIn("q", n, func(*omniq.RawTask) {})...)
		}, "SELECT count(*) FROM omniq_events WHERE until <= ?1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, clock := slow(t, sqlite.WithEvents(keep))
			c.prepare(t, b)
			clock.advance(2 * keep)
			most, all := 0, false
			for left := n; !all; {
				enqueue(t, b, newTasks(1)...) // a transaction at least
				now := number(t, b, c.left, clock.now().UnixMicro())
				if now < left {
					most = max(most, left-now)
				}
				left, all = now, now == 0
			}
			assert.Less(t, most, n/2, "so many were done between two calls")
		})
	}
}

// While much is still to be written down, a lease gets what is due, in its order, and nothing whose TTL has passed.
func TestLeaseBeforeAllIsWritten(t *testing.T) {
	const n = 500
	life := 90 * time.Minute
	for _, c := range []struct {
		name  string
		first func(*omniq.RawTask) // n tasks of another queue or the same
		queue string
		then  func(*omniq.RawTask)
	}{
		{"due in another queue", func(t *omniq.RawTask) { t.Delay = time.Hour }, "other", func(t *omniq.RawTask) { t.Delay = life }},
		{"a higher priority", func(t *omniq.RawTask) { t.Delay = time.Hour }, "q", func(t *omniq.RawTask) { t.Delay, t.Priority = life, 7 }},
		{"after those that expire", func(t *omniq.RawTask) { t.TTL = &life }, "q", func(*omniq.RawTask) {}},
		{"due, after those that expire", func(t *omniq.RawTask) { t.TTL, t.Delay = &life, time.Hour }, "q", func(t *omniq.RawTask) { t.Delay = life }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, clock := slow(t)
			enqueue(t, b, tasksIn("q", n, c.first)...)
			last := tasksIn(c.queue, 1, c.then)[0]
			enqueue(t, b, last)
			clock.advance(2 * time.Hour)
			leases := leaseOf(t, b, c.queue, 1)
			require.Len(t, leases, 1)
			assert.Equal(t, last.ID, leases[0].TaskID)
		})
	}
}

// What is asked of one task is true of it at once, however much is still to be written down.
func TestOneOfMany(t *testing.T) {
	const n = 500
	life := time.Hour
	b, clock := slow(t)
	tasks := tasksIn("q", n, func(t *omniq.RawTask) { t.TTL = &life })
	enqueue(t, b, tasks...)
	running := tasksIn("r", 1, func(*omniq.RawTask) {})[0]
	enqueue(t, b, running)
	l := leaseOf(t, b, "r", 1)[0]
	clock.advance(2 * life)
	last := tasks[n-1].ID
	r, err := b.Result(t.Context(), last)
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusExpired, r.Status)
	info, err := b.Inspect(t.Context(), tasks[n-2].ID)
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusExpired, info.Status)
	errs, err := b.Cancel(t.Context(), []uuid.UUID{tasks[n-3].ID})
	require.NoError(t, err)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], omniq.ErrState)

	ctx := context.WithoutCancel(t.Context())
	for name, call := range map[string]func() ([]error, error){
		"Extend": func() ([]error, error) { return b.Extend(ctx, []omniq.LeaseID{l.LeaseID}, time.Minute) },
		"Start":  func() ([]error, error) { return b.Start(ctx, []omniq.LeaseID{l.LeaseID}) },
		"Settle": func() ([]error, error) { return b.Settle(ctx, []omniq.Settlement{finish(l, "1", life)}) },
	} {
		errs, err := call()
		require.NoError(t, err, name)
		require.Len(t, errs, 1, name)
		assert.ErrorIs(t, errs[0], omniq.ErrLeaseLost, name)
	}
}

// A file that has held many tasks comes back to about what it needs. One that another program has made keeps its form.
func TestFileComesBack(t *testing.T) {
	t.Parallel()
	const few, many = 200, 3000
	path := place(t)
	b := open(t, path, sqlite.WithSynchronousNormal())
	pages := func() int { return number(t, b, "SELECT page_count FROM pragma_page_count") }
	enqueue := func(n int) {
		_, err := b.Enqueue(t.Context(), tasksIn("default", n, func(task *omniq.RawTask) { task.Args = omniq.Raw(`["` + strings.Repeat("x", 1000) + `"]`) }))
		require.NoError(t, err)
	}
	enqueue(few)
	before := pages()
	enqueue(many)
	peak := pages()
	require.Greater(t, peak, 5*before)
	for done := 0; done < many; {
		leases := leaseOf(t, b, "default", 1000)
		ends, ids := make([]omniq.Settlement, len(leases)), make([]uuid.UUID, len(leases))
		for i, l := range leases {
			ends[i], ids[i] = finish(l, "1", time.Hour), l.TaskID
		}
		errs, err := b.Settle(t.Context(), ends)
		require.NoError(t, err)
		require.Nil(t, errs)
		errs, err = b.Forget(t.Context(), ids)
		require.NoError(t, err)
		require.Nil(t, errs)
		done += len(leases)
	}
	require.Eventually(t, func() bool { return pages() <= 2*before }, 20*time.Second, 50*time.Millisecond, "%d pages before, %d at the peak", before, peak)
	require.Eventually(t, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() <= int64(2*before*4096)
	}, 20*time.Second, 50*time.Millisecond, "the file, at last")

	theirs := place(t)
	run(t, theirs, "CREATE TABLE orders (id INTEGER PRIMARY KEY)")
	b = open(t, theirs)
	assert.Zero(t, number(t, b, "SELECT auto_vacuum FROM pragma_auto_vacuum"))
}
