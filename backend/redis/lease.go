package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
	"github.com/omniq-go/omniq/internal/logkey"
)

// grace is how long a call waits for an answer whose context has ended: it says what was handed out.
const grace = 2 * time.Second

// outlasting is a context for a script whose answer must not be lost: it ends a little later than ctx.
func (b *Backend) outlasting(ctx context.Context) (context.Context, func()) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel(nil) }
}

// Lease hands out tasks that are due, and waits for one if it is told to: see [omniq.TaskQueue].
func (b *Backend) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if err := engine.CheckLease(&r); err != nil {
		return nil, err
	}
	queues := make([]string, len(r.Queues))
	topics := make([]string, len(r.Queues))
	for i, q := range r.Queues {
		queues[i] = queueName(q)
		topics[i] = queueTopic(queues[i])
	}
	args := fields{
		"queues": queues, "max": r.Max, "ahead": r.Ahead, "duration": microseconds(r.Duration), "worker": r.WorkerID,
	}
	if r.Soon {
		args["soon"] = true
	}
	if r.Limits != nil {
		args["limits"] = r.Limits
	}
	if r.Names != nil {
		args["names"] = r.Names
	}
	var watch *subscription
	defer func() {
		if watch != nil {
			watch.cancel()
		}
	}()
	for end := time.Now().Add(r.Wait); ; {
		if err := b.alive(ctx); err != nil {
			return nil, err
		}
		leases, more, opens, err := b.lease(ctx, args, r.Duration)
		switch {
		case err != nil || len(leases) > 0:
			return leases, err
		case more:
			continue
		case r.Wait <= 0 || !time.Now().Before(end):
			return nil, nil
		case watch == nil:
			watch = b.hub.subscribe(ctx, topics...)
			continue // what has come before
		}
		pause := min(time.Until(end), b.hub.patience())
		if opens >= 0 {
			pause = min(pause, opens)
		}
		if err := b.wait(ctx, watch, pause); err != nil {
			return nil, err
		}
	}
}

// wait returns when something has happened, or has not for a while.
func (b *Backend) wait(ctx context.Context, s *subscription, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-s.woken:
	case <-timer.C:
	case <-b.closing:
		return omniq.ErrClosed
	case <-ctx.Done():
		return contextError(ctx)
	}
	return nil
}

// lease hands out what is ready. More says that there may be some at once, opens when a limit permits more: negative for no time.
func (b *Backend) lease(ctx context.Context, args fields, duration time.Duration) (leases []omniq.Lease, more bool, opens time.Duration, err error) {
	token := rand.Text() // never counted: what a fail-over loses would be counted again
	args["token"] = token
	longer, cancel := b.outlasting(ctx)
	defer cancel()
	answer, err := b.run(longer, "lease", args)
	if err != nil {
		if ctx.Err() != nil {
			err = contextError(ctx)
		}
		return nil, false, 0, err
	}
	parts, err := answer.ToArray()
	if err != nil || len(parts) != 4 {
		return nil, false, 0, errPacked
	}
	now, _ := parts[0].AsInt64()
	again, _ := parts[1].AsInt64()
	us, _ := parts[2].AsInt64()
	handed, err := parts[3].ToArray()
	if err != nil {
		return nil, false, 0, errPacked
	}
	var refused []omniq.Settlement
	for i := range handed {
		l, err := decodeLease(handed[i], token, now, duration)
		if err != nil {
			refused = append(refused, unreadableTask(l, err, now))
			continue
		}
		leases = append(leases, l)
	}
	b.refuse(longer, refused)
	return leases, again == 1 || len(leases) == 0 && len(refused) > 0, time.Duration(us) * time.Microsecond, nil
}

// The places in what a script hands out.
const (
	leasedID   = iota
	leasedHead // if something in it is not as usual
	leasedEnvelope
	leasedWaited
	leasedAttempt
	leasedState
	leasedInputs
	leasedStarted
	leasedSize
)

func decodeLease(m rueidis.RedisMessage, token string, now int64, duration time.Duration) (l omniq.Lease, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != leasedSize {
		return l, errPacked
	}
	v := texts(m)
	l.LeaseID = omniq.LeaseID{TaskID: idOf(v[leasedID]), Token: token}
	waited, _ := parts[leasedWaited].AsInt64()
	attempt, _ := parts[leasedAttempt].AsInt64()
	l.Attempt, l.Waited = int(attempt), time.Duration(waited)*time.Microsecond
	started, _ := parts[leasedStarted].AsInt64()
	var head fields
	if v[leasedHead] != "" {
		if head, err = decodeFields(v[leasedHead]); err != nil {
			return l, err
		}
	}
	l.Started, l.Resumed, l.Lost = started == 1, head.is("resumed"), int(head.int("lost"))
	l.Expires = moment(now).Add(duration)
	if since := head.int("shunned"); since != 0 {
		l.Deferred = time.Duration(now-since) * time.Microsecond
	}
	if v[leasedState] != "" {
		l.State = omniq.Raw(v[leasedState])
	}
	if l.Task, err = decodeTask(l.TaskID, head, v[leasedEnvelope]); err != nil {
		return l, err
	}
	if !parts[leasedInputs].IsNil() {
		if l.Inputs, err = decodeInputs(parts[leasedInputs]); err != nil {
			return l, fmt.Errorf("an input of it: %w", err)
		}
	}
	return l, nil
}

// decodeInputs reads the results of what a task has waited for: nil for one that is not an input.
func decodeInputs(m rueidis.RedisMessage) ([]*omniq.RawResult, error) {
	list, err := m.ToArray()
	if err != nil {
		return nil, errPacked
	}
	inputs := make([]*omniq.RawResult, len(list))
	for i := range list {
		if list[i].IsNil() {
			continue
		}
		v := texts(list[i])
		switch len(v) {
		case 2:
			inputs[i], err = decodeResult(idOf(v[0]), v[1])
		case 4: // no worker has made it
			var head fields
			if head, err = decodeFields(v[2]); err == nil {
				inputs[i], err = resultOf(idOf(v[0]), head, v[1], v[3])
			}
		default:
			err = errPacked
		}
		if err != nil {
			return nil, err
		}
	}
	return inputs, nil
}

// unreadableTask is the end of a task that cannot be read: anybody may have written anything.
func unreadableTask(l omniq.Lease, err error, now int64) omniq.Settlement {
	message := []byte("the task cannot be read: " + err.Error())
	for i, c := range message {
		if c < ' ' || c >= utf8.RuneSelf {
			message[i] = '?'
		}
	}
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusFailure, Timestamp: moment(now), TTL: new(omniq.DefaultFailureTTL), Attempts: l.Attempt,
		Error: &omniq.TaskError{Type: "omniq.Decode", Message: string(message)},
	}}
}

// refuse lets tasks fail that cannot be read. If that does not succeed, their leases run out.
func (b *Backend) refuse(ctx context.Context, tasks []omniq.Settlement) {
	if len(tasks) == 0 {
		return
	}
	_, err := b.Settle(ctx, tasks)
	for i := range tasks {
		b.config.logger.Warn("redis: "+tasks[i].Result.Error.Message, logkey.Task, tasks[i].TaskID, logkey.Error, err)
	}
}

func leaseFields(leases []omniq.LeaseID) ([]fields, []uuid.UUID) {
	list, ids := make([]fields, len(leases)), make([]uuid.UUID, len(leases))
	for i, l := range leases {
		list[i], ids[i] = fields{"id": key(l.TaskID), "token": l.Token}, l.TaskID
	}
	return list, ids
}

// Start starts attempts at tasks that were leased ahead: see [omniq.TaskQueue].
func (b *Backend) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	list, ids := leaseFields(leases)
	answer, err := b.run(ctx, "start", fields{"leases": list})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, nil)
}

// Extend makes leases last longer: see [omniq.TaskQueue].
func (b *Backend) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if by <= 0 {
		return nil, invalid("extension of %d leases by %v, want a positive time", len(leases), by)
	}
	list, ids := leaseFields(leases)
	answer, err := b.run(ctx, "extend", fields{"leases": list, "by": microseconds(by)})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, nil)
}

// Revoked waits for leases of the worker that were lost because their tasks were cancelled, and returns them: see
// [omniq.TaskQueue].
func (b *Backend) Revoked(ctx context.Context, workerID string) ([]omniq.LeaseID, error) {
	if err := engine.CheckWorker(workerID); err != nil {
		return nil, err
	}
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	watch := b.hub.subscribe(ctx, workerTopic(workerID))
	defer watch.cancel()
	for {
		answer, err := b.run(ctx, "revoked", fields{"worker": workerID})
		if err != nil {
			return nil, err
		}
		if told := texts(answer); len(told) > 0 {
			// They are taken away once they are known here: an answer that is lost is no loss. They may be told twice.
			answer, err := b.run(ctx, "revoked", fields{"worker": workerID, "take": told})
			if err == nil {
				told = texts(answer)
			}
			var leases []omniq.LeaseID
			for _, m := range told {
				if len(m) > 16 {
					leases = append(leases, omniq.LeaseID{TaskID: idOf(m), Token: m[16:]})
				}
			}
			if len(leases) > 0 {
				return leases, nil
			}
			continue // somebody else was told
		}
		if err := b.wait(ctx, watch, b.hub.patience()); err != nil {
			return nil, err
		}
	}
}
