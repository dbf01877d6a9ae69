package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/omniq-go/omniq"
)

// brokenDoors take what nobody could read, or refuse what everybody can.
var brokenDoors = []breakage{
	{"drops tasks that cannot be", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			return errs, unless(omniq.ErrInvalid, err)
		}
	}, []string{"a task that no worker could read is refused, and nothing of its call is stored", others}},
	{"refuses deep arguments", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			for _, t := range tasks {
				if t != nil && len(t.Args) > 500 && t.Args[500] == '[' {
					return nil, omniq.ErrInvalid
				}
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"a task that is just allowed is leased as it was"}},
	{"fails for all because of one settlement", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			for _, one := range errs {
				if errors.Is(one, omniq.ErrInvalid) {
					return nil, one
				}
			}
			return errs, err
		}
	}, []string{
		"a result that nobody could read is refused, and the others of its call are settled",
		"an error that nobody could read is refused, and the others of its call are settled",
		"a settlement that cannot be stored is refused in its place, and keeps no other from being done",
	}},
	{"cuts data", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			list := append([]omniq.Settlement(nil), settlements...)
			for i, s := range list {
				if s.Result != nil && len(s.Result.ResultData) > 16<<20-1000 && s.Result.Validate() == nil {
					r := *s.Result
					r.ResultData = omniq.Raw(`""`)
					list[i].Result = &r
				}
			}
			return b.m.Settle(ctx, list)
		}
	}, []string{"a result that is just allowed is kept as it was"}},
	{"records nothing of what cannot be, and says nothing", func(b *broken) {
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			errs, err := b.m.Record(ctx, results)
			return errs, unless(omniq.ErrInvalid, err)
		}
	}, []string{"a result that nobody could read is not recorded", others}},
	{"keeps no events that cannot be, and says nothing", func(b *broken) {
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error {
			return unless(omniq.ErrInvalid, b.m.Append(ctx, events))
		}
	}, []string{"an event that nobody could read is refused, and nothing of its call is kept", others}},
	{"pauses what is no queue", func(b *broken) {
		b.pause = func(ctx context.Context, queue string) error { return unless(omniq.ErrInvalid, b.m.Pause(ctx, queue)) }
	}, []string{"what is no name of a queue is refused"}},
	{"frees what is no key", func(b *broken) {
		b.free = func(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
			errs, err := b.m.Free(ctx, keys)
			return errs, unless(omniq.ErrInvalid, err)
		}
	}, []string{"what is no key is not freed"}},
	{"knows any worker", func(b *broken) {
		b.revoked = func(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			lost, err := b.m.Revoked(ctx, worker)
			return lost, unless(omniq.ErrInvalid, err)
		}
	}, []string{"what is no name of a worker is refused", others}},
}

// unless is err, or nil if it is one of those that are not reported.
func unless(hidden, err error) error {
	if errors.Is(err, hidden) {
		return nil
	}
	return err
}
