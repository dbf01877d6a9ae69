package backendtest

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenFlows do something wrong with flows, and with tasks that are requeued with others.
var brokenFlows = []breakage{
	{"knows no flows", tasks(func(t *omniq.RawTask) { t.Flow = uuid.Nil }), []string{
		"a flow is stored whole: none but a member adds to it, also when it has ended",
		"the figures of a flow are those of its members, in each state",
		others,
	}},
	{"adds to flows", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			if !errors.Is(err, omniq.ErrState) {
				return errs, err
			}
			for _, t := range tasks {
				c := *t
				c.Flow = uuid.New()
				if _, err = b.m.Enqueue(ctx, []*omniq.RawTask{&c}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
	}, []string{"a flow is stored whole: none but a member adds to it, also when it has ended", others}},
	{"adds to flows that have ended", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			for _, t := range tasks {
				if t == nil || t.Flow == uuid.Nil {
					continue
				}
				if s, err := b.m.FlowStats(ctx, t.Flow); err == nil && s.Open() == 0 {
					_, err := b.m.Enqueue(ctx, []*omniq.RawTask{task()})
					return nil, err
				}
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"a flow is stored whole: none but a member adds to it, also when it has ended", others}},
	{"counts final members as none", func(b *broken) {
		b.flowStats = func(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
			s, err := b.m.FlowStats(ctx, flow)
			return omniq.FlowStats{Waiting: s.Waiting, Pending: s.Pending, Running: s.Running}, err
		}
	}, []string{"the figures of a flow are those of its members, in each state", others}},
	{"has figures of each flow", func(b *broken) {
		b.flowStats = func(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
			s, err := b.m.FlowStats(ctx, flow)
			return s, unless(omniq.ErrNotFound, err)
		}
	}, []string{
		"the figures of a flow are those of its members, in each state",
		"the last member adds to its flow, though nothing is kept of its end",
		others,
	}},
	{"lists flows without their states", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			if r.Flow != uuid.Nil {
				r.Status = 0
			}
			return b.m.List(ctx, r)
		}
	}, []string{"List shows the members of a flow, in one state or in all, of one queue or of all"}},
	{"lists all flows as one", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			if r.Status != 0 {
				r.Flow = uuid.Nil
			}
			return b.m.List(ctx, r)
		}
	}, []string{"List shows the members of a flow, in one state or in all, of one queue or of all"}},
	{"does not show flows", infos(func(i *omniq.TaskInfo) { i.Flow = uuid.Nil }), []string{
		"List shows the members of a flow, in one state or in all, of one queue or of all",
	}},
	{"cancels no flows", func(b *broken) {
		b.cancelFlow = func(ctx context.Context, flow uuid.UUID) (int, error) {
			s, err := b.m.FlowStats(ctx, flow)
			return s.Open(), err
		}
	}, []string{
		"a flow that is cancelled ends, whatever its members do, and no other one",
		"the members of a large flow are all cancelled",
		others,
	}},
	{"cancels the pending members of a flow", cancelsMembers(0, omniq.StatusPending), []string{
		"a flow that is cancelled ends, whatever its members do, and no other one",
		others,
	}},
	{"cancels a part of a large flow", cancelsMembers(1000, omniq.StatusWaiting, omniq.StatusPending, omniq.StatusRunning), []string{
		"the members of a large flow are all cancelled", others,
	}},
	{"cancels the members that it saw first", cancelsMembers(10, omniq.StatusWaiting, omniq.StatusPending, omniq.StatusRunning), []string{
		"a flow that is cancelled while its members add to it ends",
		"the members of a large flow are all cancelled",
		others,
	}},
	{"cancels each flow", func(b *broken) {
		b.cancelFlow = func(ctx context.Context, flow uuid.UUID) (int, error) {
			n, err := b.m.CancelFlow(ctx, flow)
			return n, unless(omniq.ErrNotFound, err)
		}
	}, []string{
		"a flow that is cancelled ends, whatever its members do, and no other one",
		"the figures of a flow are those of its members, in each state",
		"the last member adds to its flow, though nothing is kept of its end",
		others,
	}},
	{"follows nobody", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, _ bool) ([]error, error) {
			return b.m.Requeue(ctx, ids, false)
		}
	}, []string{
		"a task that is requeued with what follows from it revives those that it had ended",
		"a task that others had ended, too, is revived with the last of them",
		"what follows comes together again, where it parts",
		"a task that has ended because of those that it has handed over to is revived with them",
		others,
	}},
	{"always follows", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, _ bool) ([]error, error) {
			return b.m.Requeue(ctx, ids, true)
		}
	}, []string{
		"a task that is requeued alone revives no other, which can be requeued once it needs nothing else", others,
	}},
	{"requeues one after another", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs := make([]error, len(ids))
			for i, id := range ids {
				one, err := b.m.Requeue(ctx, []uuid.UUID{id}, follow)
				if err != nil {
					return nil, err
				}
				errs[i] = first(one)
			}
			return errs, nil
		}
	}, []string{
		"tasks that are requeued in one call wait for each other, in whatever order they stand there", others,
	}},
	{"does not say what is to be requeued", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs, err := b.m.Requeue(ctx, ids, follow)
			for i := range errs {
				if errors.Is(errs[i], omniq.ErrState) {
					errs[i] = omniq.ErrState
				}
			}
			return errs, err
		}
	}, []string{"a task that is requeued alone revives no other, which can be requeued once it needs nothing else"}},
}

// cancelsMembers cancels those members of a flow that it finds at first in some states, at most a number of each unless that
// is zero.
func cancelsMembers(most int, states ...omniq.Status) func(*broken) {
	return func(b *broken) {
		b.cancelFlow = func(ctx context.Context, flow uuid.UUID) (int, error) {
			if _, err := b.m.FlowStats(ctx, flow); err != nil {
				return 0, err
			}
			var all []uuid.UUID
			for _, s := range states {
				page, _, err := b.m.List(ctx, omniq.ListRequest{Status: s, Flow: flow, Max: 10_000})
				if err != nil {
					return 0, err
				}
				for i, info := range page {
					if most == 0 || i < most {
						all = append(all, info.ID)
					}
				}
			}
			_, err := b.m.Cancel(ctx, all)
			return len(all), err
		}
	}
}
