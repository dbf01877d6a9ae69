package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// within bounds how long one answer of an engine may take.
func within[T any](ctx context.Context, timeout time.Duration, ask func(context.Context) (T, error)) (T, error) {
	silent := fmt.Errorf("the engine has not answered within %v (--timeout)", timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, silent)
	defer cancel()
	answer, err := ask(ctx)
	if err != nil && errors.Is(context.Cause(ctx), silent) {
		err = fmt.Errorf("%w: %w", silent, err)
	}
	return answer, err
}

// doneWithin is [within] for what has no answer but an error.
func doneWithin(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	_, err := within(ctx, timeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

// bounded is an engine each of whose answers is there within a time, or an error. A listing of many answers has no bound.
type bounded struct {
	omniq.Backend
	timeout time.Duration
}

// each bounds what is asked about tasks.
func (b *bounded) each(ctx context.Context, do func(context.Context, []uuid.UUID) ([]error, error), ids []uuid.UUID) ([]error, error) {
	return within(ctx, b.timeout, func(ctx context.Context) ([]error, error) { return do(ctx, ids) })
}

func (b *bounded) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return within(ctx, b.timeout, func(ctx context.Context) ([]error, error) { return b.Backend.Enqueue(ctx, tasks) })
}

func (b *bounded) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, b.Backend.Cancel, ids)
}

func (b *bounded) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, b.Backend.RunNow, ids)
}

func (b *bounded) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, b.Backend.Forget, ids)
}

func (b *bounded) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	return within(ctx, b.timeout, func(ctx context.Context) ([]error, error) { return b.Backend.Requeue(ctx, ids, follow) })
}

func (b *bounded) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	return within(ctx, b.timeout, func(ctx context.Context) ([]error, error) { return b.Backend.Update(ctx, updates) })
}

func (b *bounded) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	return within(ctx, b.timeout, func(ctx context.Context) (int, error) { return b.Backend.CancelFlow(ctx, flow) })
}

func (b *bounded) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	return within(ctx, b.timeout, func(ctx context.Context) (omniq.FlowStats, error) { return b.Backend.FlowStats(ctx, flow) })
}

func (b *bounded) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	return within(ctx, b.timeout, func(ctx context.Context) (*omniq.TaskInfo, error) { return b.Backend.Inspect(ctx, id) })
}

func (b *bounded) List(ctx context.Context, request omniq.ListRequest) (page []*omniq.TaskInfo, next string, err error) {
	page, err = within(ctx, b.timeout, func(ctx context.Context) ([]*omniq.TaskInfo, error) {
		page, next, err = b.Backend.List(ctx, request)
		return page, err
	})
	return page, next, err
}

func (b *bounded) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	return within(ctx, b.timeout, b.Backend.Stats)
}

func (b *bounded) Pause(ctx context.Context, queue string) error {
	return doneWithin(ctx, b.timeout, func(ctx context.Context) error { return b.Backend.Pause(ctx, queue) })
}

func (b *bounded) Resume(ctx context.Context, queue string) error {
	return doneWithin(ctx, b.timeout, func(ctx context.Context) error { return b.Backend.Resume(ctx, queue) })
}

func (b *bounded) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	return doneWithin(ctx, b.timeout, func(ctx context.Context) error { return b.Backend.SetLimit(ctx, queue, limit) })
}

func (b *bounded) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return within(ctx, b.timeout, func(ctx context.Context) (*omniq.RawResult, error) { return b.Backend.Result(ctx, id) })
}

func (b *bounded) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) {
	return within(ctx, b.timeout, b.Backend.Workers)
}

func (b *bounded) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	return within(ctx, b.timeout, func(ctx context.Context) ([]omniq.Minute, error) { return b.Backend.History(ctx, last) })
}

// Events may take its Wait in addition.
func (b *bounded) Events(ctx context.Context, request omniq.EventsRequest) (events []omniq.StoredEvent, next omniq.Cursor, err error) {
	events, err = within(ctx, b.timeout+request.Wait, func(ctx context.Context) ([]omniq.StoredEvent, error) {
		events, next, err = b.Backend.Events(ctx, request)
		return events, err
	})
	return events, next, err
}
