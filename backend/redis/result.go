package redis

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// result returns a task's result as it is now, and which of the task's lives it is of: the number of a later one is higher. Who has waited
// for it gets one that is not kept, too.
func (b *Backend) result(ctx context.Context, id uuid.UUID, waited bool) (r *omniq.RawResult, life int64, err error) {
	answer, err := b.run(ctx, "result", fields{"id": key(id), "waited": waited})
	if err != nil {
		return nil, 0, err
	}
	v := texts(answer)
	switch len(v) {
	case 1:
		return told(v[0])
	case 3:
		head, err := decodeFields(v[0])
		if err != nil {
			return nil, 0, err
		}
		r, err = resultOf(id, head, v[1], v[2])
		return r, head.int("seq"), err
	}
	return nil, 0, omniq.ErrNotFound
}

// told is a result that a script tells those who wait.
func told(content string) (r *omniq.RawResult, life int64, err error) {
	head, err := decodeFields(content)
	if err != nil {
		return nil, 0, err
	}
	r, err = resultOf(idOf(head.text("id")), head, head.text("result"), head.text("envelope"))
	return r, head.int("seq"), err
}

// Result returns a task's result as it is now: see [omniq.ResultStore].
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	r, _, err := b.result(ctx, id, false)
	return r, err
}

// Await waits for a task's result: see [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	// It is looked for before anything is waited for: from then on the caller gets a result that is not kept, too.
	if r, _, err := b.result(ctx, id, false); err != nil || r.Status.Final() {
		return r, err
	}
	watch := b.hub.subscribe(ctx, resultTopic(id))
	defer watch.cancel()
	for {
		r, life, err := b.result(ctx, id, true)
		if err != nil || r.Status.Final() {
			return r, err
		}
		if err := b.wait(ctx, watch, b.hub.patience()); err != nil {
			return nil, err
		}
		if content := watch.message(); content != "" {
			r, of, err := told(content)
			if err != nil || of >= life { // else it is late: the task has been requeued since
				return r, err
			}
		}
	}
}

// Stream returns items of a stream of a task, and waits for one if it is told to: see [omniq.ResultStore].
func (b *Backend) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	page := omniq.StreamPage{Next: r.After}
	if err := engine.CheckStream(&r); err != nil {
		return page, err
	}
	var watch *subscription
	defer func() {
		if watch != nil {
			watch.cancel()
		}
	}()
	for end := time.Now().Add(r.Wait); ; {
		answer, err := b.run(ctx, "stream", fields{"id": key(r.TaskID), "name": r.Name, "after": r.After, "max": r.Max})
		if err != nil {
			return page, err
		}
		if answer.IsNil() {
			if watch != nil { // it has ended, and is gone
				return omniq.StreamPage{Next: r.After, Ended: true}, nil
			}
			return page, omniq.ErrNotFound
		}
		if page, err = decodePage(answer); err != nil {
			return omniq.StreamPage{Next: r.After}, err
		}
		switch {
		case len(page.Items) > 0 || page.Ended || r.Wait <= 0 || !time.Now().Before(end):
			return page, nil
		case watch == nil:
			watch = b.hub.subscribe(ctx, streamTopic(r.TaskID), resultTopic(r.TaskID))
			continue
		}
		if err := b.wait(ctx, watch, min(time.Until(end), b.hub.patience())); err != nil {
			return omniq.StreamPage{Next: r.After}, err
		}
	}
}

func decodePage(m rueidis.RedisMessage) (page omniq.StreamPage, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 3 {
		return page, errPacked
	}
	for _, item := range texts(parts[0]) {
		page.Items = append(page.Items, omniq.Raw(item))
	}
	page.Next, _ = parts[1].AsInt64()
	ended, _ := parts[2].AsInt64()
	page.Ended = ended == 1
	return page, nil
}
