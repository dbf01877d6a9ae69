package backendtest

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

func (b *broken) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return b.enqueue(ctx, tasks)
}

func (b *broken) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	return b.lease(ctx, r)
}

func (b *broken) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	return b.extend(ctx, leases, by)
}

func (b *broken) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	return b.start(ctx, leases)
}

func (b *broken) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	return b.free(ctx, keys)
}

func (b *broken) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	return b.settle(ctx, settlements)
}

func (b *broken) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.result(ctx, id)
}

func (b *broken) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.await(ctx, id)
}

func (b *broken) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.cancel(ctx, ids)
}

func (b *broken) Revoked(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
	return b.revoked(ctx, worker)
}

func (b *broken) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	return b.requeue(ctx, ids, follow)
}

func (b *broken) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.runNow(ctx, ids)
}

func (b *broken) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	return b.update(ctx, updates)
}

func (b *broken) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	return b.inspect(ctx, id)
}

func (b *broken) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	return b.list(ctx, r)
}

func (b *broken) Stats(ctx context.Context) ([]omniq.QueueStats, error) { return b.stats(ctx) }

func (b *broken) Pause(ctx context.Context, queue string) error { return b.pause(ctx, queue) }

func (b *broken) Resume(ctx context.Context, queue string) error { return b.resume(ctx, queue) }

func (b *broken) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	return b.record(ctx, results)
}

func (b *broken) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.forget(ctx, ids)
}

func (b *broken) Append(ctx context.Context, events []*omniq.TaskEvent) error {
	return b.append(ctx, events)
}

func (b *broken) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	return b.events(ctx, r)
}

func (b *broken) Note(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
	return b.notes(ctx, notes)
}

func (b *broken) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	return b.resolve(ctx, results)
}

func (b *broken) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	return b.stream(ctx, r)
}

func (b *broken) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	return b.cancelFlow(ctx, flow)
}

func (b *broken) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	return b.flowStats(ctx, flow)
}

func (b *broken) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	return b.setLimit(ctx, queue, limit)
}

func (b *broken) Beat(ctx context.Context, w omniq.WorkerInfo) error { return b.beat(ctx, w) }

func (b *broken) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) { return b.workers(ctx) }

func (b *broken) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	return b.history(ctx, last)
}
