package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// replacing is an enqueue of a stampede.
type replacing struct {
	began, ended int64 // in the order of all that happens
	under        uuid.UUID
	stored       bool // as a new task
}

// stampede lets tasks with a key be enqueued while the workers of another backend on the same store, which may be the same one, lease
// them as fast as they can. running counts these, nil if several may run at once.
func (c *checker) stampede(other *checker, mode func(*omniq.RawTask), running *atomic.Int64) {
	const producers, each, workers = 4, 25, 2
	const q = "stampede"
	var clock, left, crowd, doubles atomic.Int64
	left.Store(producers)
	all := make([][]replacing, producers)
	var done []<-chan error
	for p := range producers {
		done = append(done, async(func() error {
			defer left.Add(-1)
			for n := range each {
				t := task(mode, queue(q), func(t *omniq.RawTask) { t.Args = omniq.Raw(fmt.Sprintf("[%d]", p*each+n)) })
				r := replacing{began: clock.Add(1), under: t.ID, stored: true}
				errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
				if err != nil {
					return err
				}
				if err := first(errs); err != nil {
					d, ok := errors.AsType[omniq.Duplicate](err)
					if !ok || !d.Replaced {
						return fmt.Errorf("an enqueue is refused: %w", err)
					}
					r.under, r.stored = d.Holder, false
				}
				r.ended = clock.Add(1)
				all[p] = append(all[p], r)
				if n%5 == p {
					c.pause() // so that some are leased before they are replaced
				}
			}
			return nil
		}))
	}
	runs := make([][]omniq.Lease, workers)
	for w := range workers {
		done = append(done, async(func() error {
			for {
				last := left.Load() == 0
				leases, err := other.b.Lease(c.Context(), omniq.LeaseRequest{Queues: []string{q}, Max: 1, Duration: long, WorkerID: strconv.Itoa(w)})
				if err != nil {
					return err
				}
				for _, l := range leases {
					if running != nil && running.Add(1) > 1 {
						crowd.Add(1)
					}
					runs[w] = append(runs[w], l)
					if len(runs[w])%3 == 0 {
						c.pause()
					}
					if running != nil {
						running.Add(-1)
					}
					if errs, err := other.b.Settle(c.Context(), []omniq.Settlement{success(l, "1", long)}); err != nil || first(errs) != nil {
						return errors.Join(err, first(errs))
					}
				}
				if len(leases) == 0 {
					if last && c.idle(q) {
						return nil
					}
					c.pause()
				}
			}
		}))
	}
	done = append(done, async(func() error {
		for left.Load() > 0 {
			page, _, err := c.b.List(c.Context(), omniq.ListRequest{Status: omniq.StatusPending, Queue: q, Max: 9})
			if err != nil {
				return err
			}
			if len(page) > 1 {
				doubles.Add(1)
			}
			c.pause()
		}
		return nil
	}))
	for _, d := range done {
		require.NoError(c, c.ended(d, "a stampede"))
	}
	require.Zero(c, doubles.Load(), "two tasks with the key were pending at once")
	require.Zero(c, crowd.Load(), "two tasks with the key ran at once")
	ran := make(map[uuid.UUID]replacing)
	for _, l := range slices.Concat(runs...) {
		var n []int
		require.NoError(c, json.Unmarshal(l.Task.Args, &n))
		p := all[n[0]/each][n[0]%each]
		require.Equal(c, l.TaskID, p.under, "what was enqueued under another task")
		require.NotContains(c, ran, l.TaskID, "a task runs twice")
		ran[l.TaskID] = p
	}
	for _, p := range slices.Concat(all...) {
		last, ok := ran[p.under]
		if !ok {
			r, err := c.b.Result(c.Context(), p.under)
			require.Failf(c, "what was enqueued is lost", "the result of its task is now %+v (%v)", r, err)
		}
		require.LessOrEqual(c, p.began, last.ended, "what was enqueued is lost: what ran under its ID came before it")
	}
}

// idle reports whether nothing of a queue is left to run. It looks in the order in which a task passes, so that none slips
// from what it has yet to read into what it has read.
func (c *checker) idle(q string) bool {
	for _, s := range []omniq.Status{omniq.StatusWaiting, omniq.StatusPending, omniq.StatusRunning} {
		page, _, err := c.b.List(c.Context(), omniq.ListRequest{Status: s, Queue: q, Max: 1})
		if err != nil || len(page) > 0 {
			return false
		}
	}
	return true
}
