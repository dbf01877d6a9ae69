package backendtest

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// tasks changes each task before it is stored.
func tasks(change func(*omniq.RawTask)) func(*broken) {
	return func(b *broken) {
		next := b.enqueue
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			tasks = slices.Clone(tasks)
			for i, t := range tasks {
				if t == nil {
					continue
				}
				c := *t
				change(&c)
				tasks[i] = &c
			}
			return next(ctx, tasks)
		}
	}
}

// requests changes each request of leases that can be.
func requests(change func(*omniq.LeaseRequest)) func(*broken) {
	return func(b *broken) {
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			if len(r.Queues) > 0 && r.Max > 0 && r.Duration > 0 && 0 <= r.Ahead && r.Ahead <= r.Max {
				change(&r)
			}
			return next(ctx, r)
		}
	}
}

// leases changes what is handed out.
func leases(change func([]omniq.Lease) []omniq.Lease) func(*broken) {
	return func(b *broken) {
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := next(ctx, r)
			if err == nil {
				leases = change(leases)
			}
			return leases, err
		}
	}
}

// settlements changes each settlement.
func settlements(change func(*omniq.Settlement)) func(*broken) {
	return func(b *broken) {
		next := b.settle
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			settlements = slices.Clone(settlements)
			for i := range settlements {
				if r := settlements[i].Result; r != nil {
					c := *r
					settlements[i].Result = &c
				}
				change(&settlements[i])
			}
			return next(ctx, settlements)
		}
	}
}

// kept changes each result that is settled.
func kept(change func(*omniq.RawResult)) func(*broken) {
	return settlements(func(s *omniq.Settlement) {
		if s.Result != nil {
			change(s.Result)
		}
	})
}

// contexts changes the context of each call.
func contexts(change func(context.Context) context.Context) func(*broken) {
	return func(b *broken) {
		m := b.m
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			return m.Enqueue(change(ctx), tasks)
		}
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			return m.Lease(change(ctx), r)
		}
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			return m.Extend(change(ctx), leases, by)
		}
		b.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
			return m.Start(change(ctx), leases)
		}
		b.free = func(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
			return m.Free(change(ctx), keys)
		}
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			return m.Settle(change(ctx), settlements)
		}
		b.result = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			return m.Result(change(ctx), id)
		}
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			return m.Await(change(ctx), id)
		}
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			return m.Requeue(change(ctx), ids, follow)
		}
		for _, method := range []*each{&b.cancel, &b.runNow, &b.forget} {
			next := *method
			*method = func(ctx context.Context, ids []uuid.UUID) ([]error, error) { return next(change(ctx), ids) }
		}
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			return m.Note(change(ctx), notes)
		}
		b.resolve = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			return m.Resolve(change(ctx), results)
		}
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			return m.Stream(change(ctx), r)
		}
		b.cancelFlow = func(ctx context.Context, flow uuid.UUID) (int, error) {
			return m.CancelFlow(change(ctx), flow)
		}
		b.flowStats = func(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
			return m.FlowStats(change(ctx), flow)
		}
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			return m.Update(change(ctx), updates)
		}
		b.revoked = func(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
			return m.Revoked(change(ctx), worker)
		}
		b.inspect = func(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
			return m.Inspect(change(ctx), id)
		}
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			return m.List(change(ctx), r)
		}
		b.stats = func(ctx context.Context) ([]omniq.QueueStats, error) { return m.Stats(change(ctx)) }
		b.pause = func(ctx context.Context, queue string) error { return m.Pause(change(ctx), queue) }
		b.resume = func(ctx context.Context, queue string) error { return m.Resume(change(ctx), queue) }
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			return m.Record(change(ctx), results)
		}
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error { return m.Append(change(ctx), events) }
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			return m.Events(change(ctx), r)
		}
	}
}
