package backendtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// skewed makes the clock of a memory backend look ahead of the test's: by that much for the times that go in and out.
func skewed(m *memory.Backend, by time.Duration) *broken {
	b := unbroken(m)
	tasks(func(t *omniq.RawTask) {
		if !t.RunAt.IsZero() {
			t.RunAt = t.RunAt.Add(-by)
		}
	})(b)
	var given sync.Map // tasks as they came, by ID
	next := b.enqueue
	b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
		for _, t := range tasks {
			given.Store(t.ID, t)
		}
		return next(ctx, tasks)
	}
	requeued(b, func(t *omniq.RawTask) { given.Delete(t.ID) })
	leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Expires = l[i].Expires.Add(by)
			if t, ok := given.Load(l[i].TaskID); ok {
				l[i].Task = t.(*omniq.RawTask)
				continue
			}
			t := *l[i].Task // it has a new life, which began by the backend's clock
			t.CreatedAt = t.CreatedAt.Add(by)
			l[i].Task = &t
		}
		return l
	})(b)
	infos(func(i *omniq.TaskInfo) { i.Since, i.Due = i.Since.Add(by), i.Due.Add(by) })(b)
	workers(shiftSeen(by))(b)
	pasts(shiftMinutes(by))(b)
	results(func(r *omniq.RawResult) {
		if r.Status != omniq.StatusSuccess { // that is the worker's
			r.Timestamp = r.Timestamp.Add(by)
		}
	})(b)
	return b
}

// shiftSeen moves the times of workers.
func shiftSeen(by time.Duration) func([]omniq.WorkerInfo) []omniq.WorkerInfo {
	return func(all []omniq.WorkerInfo) []omniq.WorkerInfo {
		for i := range all {
			all[i].Started, all[i].Seen = all[i].Started.Add(by), all[i].Seen.Add(by)
		}
		return all
	}
}

// shiftMinutes moves what was done.
func shiftMinutes(by time.Duration) func([]omniq.Minute) []omniq.Minute {
	return func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].Start = all[i].Start.Add(by)
		}
		return all
	}
}

// lengthen makes a duration as wrong as it is where one clock counts what the other wrote down.
func lengthen(d *time.Duration, by time.Duration) { *d = max(*d+by, time.Microsecond) }

// brokenSkews are engines that count with the program's clock what they look at by their own, which is ahead by a time.
var brokenSkews = []struct {
	name   string
	breaks func(by time.Duration) func(*broken)
	rules  []string
}{
	{"has the program's clock", func(by time.Duration) func(*broken) {
		return infos(func(i *omniq.TaskInfo) { i.Since, i.Due = i.Since.Add(-by), i.Due.Add(-by) })
	}, []string{"times are shown by the backend's clock"}},
	{"has the workers' clocks", func(by time.Duration) func(*broken) { return workers(shiftSeen(-by)) }, []string{
		"a worker is seen, and has started, by the backend's clock, and is gone after its lease",
	}},
	{"has the program's minutes", func(by time.Duration) func(*broken) { return pasts(shiftMinutes(-by)) }, []string{
		"what was done stands in the minute of the backend's clock",
	}},
	{"takes a RunAt for one of the program's", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if !t.RunAt.IsZero() {
				t.RunAt = t.RunAt.Add(-by)
			}
		})
	}, []string{"a task with a RunAt is due at that time of the backend's clock", "a task is leased as it was enqueued"}},
	{"makes a time of a Delay", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.Delay > 0 {
				lengthen(&t.Delay, -by)
			}
		})
	}, []string{"a task with a Delay is due after it", "a task is leased as it was enqueued"}},
	{"makes times of the delays of settlements", func(by time.Duration) func(*broken) {
		return settlements(func(s *omniq.Settlement) {
			if s.Delay > 0 {
				lengthen(&s.Delay, -by)
			}
		})
	}, []string{
		"a retry comes after its delay", "a release comes after its delay", "a deferred task comes after its delay, and tells for how long",
	}},
	{"is due when the program enqueues", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.RunAt.IsZero() && t.Delay == 0 {
				t.RunAt = time.Now().Add(-by)
			}
		})
	}, []string{"a task without a time is due at once", "the latency is how long a task has waited", others}},
	{"counts a TTL from the task's CreatedAt", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.TTL != nil {
				t.CreatedAt, t.TTL = t.CreatedAt.Add(-time.Hour), new(*t.TTL+time.Hour-by)
			}
		})
	}, []string{
		"a task expires when its TTL has passed, and not before", "a task that was taken ahead starts within its TTL",
		"a task is leased as it was enqueued",
		"a task is requeued as created now by the backend's clock, and has its whole TTL before it",
	}},
	{"makes a RunAt of a Delay", func(time.Duration) func(*broken) {
		return leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				t := *l[i].Task
				t.Delay = 0
				l[i].Task = &t
			}
			return l
		})
	}, []string{"a task is leased as it was enqueued"}},
	{"requeues by the program's clock", func(by time.Duration) func(*broken) {
		return leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				if t := *l[i].Task; t.CreatedAt.After(time.Now().Add(by - worst)) {
					t.CreatedAt = t.CreatedAt.Add(-by)
					l[i].Task = &t
				}
			}
			return l
		})
	}, []string{"a task is requeued as created now by the backend's clock, and has its whole TTL before it", others}},
	{"counts a TTL from when the program requeues", func(by time.Duration) func(*broken) {
		return func(b *broken) {
			requeued(b, func(t *omniq.RawTask) {
				if t.TTL == nil {
					return
				}
				ctx, ids, late := context.Background(), []uuid.UUID{t.ID}, *t
				late.CreatedAt, late.TTL = t.CreatedAt.Add(-time.Hour), new(*t.TTL+time.Hour-by)
				_, _ = b.m.Cancel(ctx, ids)
				_, _ = b.m.Forget(ctx, ids)
				_, _ = b.m.Enqueue(ctx, []*omniq.RawTask{&late})
			})
		}
	}, []string{"a task is requeued as created now by the backend's clock, and has its whole TTL before it"}},
	{"counts leases with the program's clock", func(by time.Duration) func(*broken) {
		return requests(func(r *omniq.LeaseRequest) { lengthen(&r.Duration, -by) })
	}, []string{"a lease lasts as long as was asked for", others}},
	{"extends with the program's clock", func(by time.Duration) func(*broken) {
		return func(b *broken) {
			b.extend = func(ctx context.Context, leases []omniq.LeaseID, d time.Duration) ([]error, error) {
				lengthen(&d, -by)
				return b.m.Extend(ctx, leases, d)
			}
		}
	}, []string{"a lease lasts as long as it was extended"}},
	{"counts the TTL of a result with the program's clock", func(by time.Duration) func(*broken) {
		return kept(func(r *omniq.RawResult) {
			if d := *r.TTL; d > 0 {
				lengthen(&d, -by)
				r.TTL = &d
			}
		})
	}, []string{"a result is kept for its TTL"}},
	{"counts the TTL of what is cancelled with the program's clock", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.ResultTTL != nil && *t.ResultTTL > 0 {
				d := *t.ResultTTL
				lengthen(&d, -by)
				t.ResultTTL = &d
			}
		})
	}, []string{"what is cancelled is kept for its TTL"}},
	{"holds unique keys by the program's clock", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.UniqueFor > 0 {
				lengthen(&t.UniqueFor, -by)
			}
		})
	}, []string{"a unique key is held for its time, and from a requeue on again"}},
	{"keeps IDs by the program's clock", func(by time.Duration) func(*broken) {
		return tasks(func(t *omniq.RawTask) {
			if t.IDFor > 0 {
				lengthen(&t.IDFor, -by)
			}
		})
	}, []string{"an ID is kept for its time"}},
}

// Each engine that mixes the clocks up breaks the rules about it, whichever clock is ahead. Each rule is broken by one.
func TestBrokenSkewsFail(t *testing.T) {
	tested := make(map[string]bool)
	failing := func(r rule, by time.Duration, breaks func(*broken)) (log []string) {
		bubble.Test(t, func(t *testing.T) {
			m := memory.New()
			b := skewed(m, by)
			breaks(b)
			check := func(rec T) { r.check(&checker{T: rec, rule: r.name, b: b, skew: by}) }
			log = recorded(t, check, func() { require.NoError(t, m.Close()) })
		})
		return log
	}
	for _, tt := range brokenSkews {
		got := make(map[string]int)
		for _, by := range clockSkews {
			for _, r := range skewedRules {
				if len(failing(r, by, tt.breaks(by))) > 0 {
					got[r.name]++
				}
			}
		}
		for _, name := range tt.rules {
			if name != others {
				assert.Positive(t, got[name], "%s: it should break %q", tt.name, name)
				tested[name] = true
			}
		}
		if tt.rules[len(tt.rules)-1] != others {
			assert.Len(t, got, len(tt.rules), tt.name)
		}
	}
	for _, r := range skewedRules {
		assert.True(t, tested[r.name], "nothing breaks the rule %q", r.name)
		for _, by := range clockSkews {
			assert.Empty(t, failing(r, by, func(*broken) {}), r.name)
		}
	}
}
