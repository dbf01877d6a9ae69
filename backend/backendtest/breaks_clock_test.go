package backendtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenClocks go by the clocks of callers, where these differ from their own.
var brokenClocks = []breakage{
	{"counts the TTL of a result from its Timestamp", kept(func(r *omniq.RawResult) { shift(&r.TTL, r.Timestamp) }), []string{
		"the TTL of a result counts from when it was settled, not from its Timestamp", others,
	}},
	{"counts the TTL of a recorded result from its Timestamp", records(func(r *omniq.RawResult) { shift(&r.TTL, r.Timestamp) }), []string{
		"the TTL of a recorded result counts from when it was recorded, not from its Timestamp",
		others,
	}},
	{"shows the Timestamps of results", func(b *broken) {
		b.inspect = func(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
			info, err := b.m.Inspect(ctx, id)
			if err == nil && info.Status.Final() {
				if r, err := b.m.Result(ctx, id); err == nil {
					info.Since = r.Timestamp
				}
			}
			return info, err
		}
	}, []string{"Inspect shows since when a task is final by the backend's clock, not by its result's", others}},
	{"makes tasks due when they were created", tasks(func(t *omniq.RawTask) {
		if t.RunAt.IsZero() && ahead(t.CreatedAt) != 0 {
			t.RunAt = t.CreatedAt
		}
	}), []string{"a task without a RunAt is due when it is stored, not when it was created", others}},
	{"counts the whole TTL of a task from when it is stored", tasks(func(t *omniq.RawTask) { t.CreatedAt = time.Now() }), []string{
		"what is left of the TTL of a task counts from when it was stored", others,
	}},
	{"counts the TTL of a task from its CreatedAt", tasks(func(t *omniq.RawTask) {
		if t.TTL != nil {
			t.TTL = new(*t.TTL + ahead(t.CreatedAt))
			t.CreatedAt = time.Now()
		}
	}), []string{"what is left of the TTL of a task counts from when it was stored", others}},
	{"holds unique keys from when their tasks were created", tasks(func(t *omniq.RawTask) {
		if t.UniqueFor > 0 {
			t.UniqueFor = max(t.UniqueFor+ahead(t.CreatedAt), time.Microsecond)
		}
	}), []string{"a unique key for a time is held from when its task was stored, not created", others}},
	{"does not know for how long a task was due", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Waited = 0
		}
		return l
	}), []string{"a lease tells for how long its task was due, whatever the caller's clock"}},
	{"counts for how long a task was due from its CreatedAt", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Waited = max(0, time.Since(l[i].Task.CreatedAt))
		}
		return l
	}), []string{"a lease tells for how long its task was due, whatever the caller's clock"}},
	{"leases tasks from when they were created", func(b *broken) {
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				l[i].Expires = l[i].Expires.Add(ahead(l[i].Task.CreatedAt))
			}
			return l
		})(b)
	}, []string{"a lease lasts from when it was handed out or extended, whatever the times of its task are"}},
	{"keeps what is cancelled or expires from when it was created", tasks(func(t *omniq.RawTask) {
		shift(&t.ResultTTL, t.CreatedAt)
		shift(&t.FailureTTL, t.CreatedAt)
	}), []string{
		"what ends without a worker is kept from when it ended, whenever it was created", others,
	}},
	{"requeues tasks of the future as they were", func(b *broken) {
		var created sync.Map
		tasks(func(t *omniq.RawTask) {
			if ahead(t.CreatedAt) > 0 {
				created.Store(t.ID, t.CreatedAt)
			}
		})(b)
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				if at, ok := created.Load(l[i].TaskID); ok {
					t := *l[i].Task
					t.CreatedAt = at.(time.Time)
					l[i].Task = &t
				}
			}
			return l
		})(b)
	}, []string{"a task is requeued as created by the backend's clock, whenever it was created before"}},
	{"does not keep old events", func(b *broken) {
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error {
			return b.m.Append(ctx, slices.DeleteFunc(slices.Clone(events), func(e *omniq.TaskEvent) bool { return e != nil && ahead(e.Timestamp) < 0 }))
		}
	}, []string{
		"appended events are kept from when they were appended, in that order, whatever their Timestamps are",
		"events are read in the order in which they were appended, whatever their Timestamps are",
		"appended events are kept as they were given",
	}},
	{"sorts events by their Timestamps", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
		slices.SortStableFunc(p, func(x, y omniq.StoredEvent) int { return x.Timestamp.Compare(y.Timestamp) })
		return p
	}), []string{
		"events are read in the order in which they were appended, whatever their Timestamps are",
		"appended events are kept from when they were appended, in that order, whatever their Timestamps are",
		others,
	}},
}

// ahead is how far a time was ahead of the clock when somebody wrote it down whose clock differs by much, else zero.
func ahead(at time.Time) time.Duration {
	if d := time.Until(at); d.Abs() > long {
		return d
	}
	return 0
}

// shift makes a TTL end as if it counted from a time.
func shift(ttl **time.Duration, from time.Time) {
	if *ttl != nil {
		*ttl = new(max(0, **ttl+ahead(from)))
	}
}
