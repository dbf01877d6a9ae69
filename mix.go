package omniq

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Mix returns a backend that queues tasks in one engine and keeps the data of results in another. Whatever else became
// of a task, that it failed, was cancelled or has expired, stays with the queue, and so do events.
//
// What is lost is atomicity: a result is recorded before its task leaves the queue. A process that dies in between
// leaves a result behind, and the task runs again; the first result stays. So does the result of a worker that loses its
// lease between the two. A result whose TTL is zero goes through the queue.
//
// [Client.Tx] works with transactions of the queue's engine, [CompleteTx] does not. There are no flows, because the inputs of a
// task would be in the other engine: what is part of one is [ErrInvalid], and so is [Latest].
//
// Close closes both, if results has a Close.
func Mix(queue Backend, results ResultStore) Backend {
	return &mixed{Backend: queue, results: results}
}

type mixed struct {
	Backend // the queue
	results ResultStore
}

func (m *mixed) Capabilities() Capabilities {
	c := m.Backend.Capabilities()
	if other, ok := m.results.(interface{ Capabilities() Capabilities }); ok {
		r := other.Capabilities()
		c.Name += "+" + r.Name
		c.Durable = c.Durable && r.Durable
		c.Survives = min(c.Survives, r.Survives)
		c.Shared = c.Shared && r.Shared
	}
	c.AtomicFinish, c.Transactions, c.Flows = false, false, false
	return c
}

func (m *mixed) Enqueue(ctx context.Context, tasks []*RawTask) ([]error, error) {
	if err := untied(tasks); err != nil {
		return nil, err
	}
	return m.Backend.Enqueue(ctx, tasks)
}

// untied refuses tasks that are part of flows, or need them. What is wrong otherwise is the engine's to say.
func untied(tasks []*RawTask) error {
	for _, t := range tasks {
		if t != nil && (t.Tied() || t.OnHeld == HeldBehind) {
			return invalid("task %v is part of a flow, which there is none of where results are kept in another engine than the queue", t.ID)
		}
	}
	return nil
}

func (m *mixed) Settle(ctx context.Context, settlements []Settlement) ([]error, error) {
	var leases []LeaseID
	var at []int // where they stand in settlements
	for i, s := range settlements {
		if e := s.Effects; e != nil && (len(e.After) > 0 || untied(e.Enqueue) != nil) {
			return nil, invalid("the settlement of task %v is part of a flow, which there is none of where results are kept in another engine than the queue", s.TaskID)
		}
		if s.Action == ActionFinish && storedApart(s.Result) {
			leases = append(leases, s.LeaseID)
			at = append(at, i)
		}
	}
	if len(leases) == 0 {
		return m.Backend.Settle(ctx, settlements)
	}
	all := make([]error, len(settlements))
	lost, err := m.Backend.Extend(ctx, leases, time.Microsecond) // which is shorter than they last: it only tells
	if err != nil {
		return nil, err
	}
	records := make([]*RawResult, 0, len(leases))
	places := make([]int, 0, len(leases))
	for k, i := range at {
		if lost != nil && lost[k] != nil {
			all[i] = ErrLeaseLost
			continue
		}
		if all[i] = settlements[i].Result.Validate(); all[i] != nil {
			continue // by itself: it is not to keep the others from being recorded
		}
		records = append(records, settlements[i].Result)
		places = append(places, i)
	}
	refused, err := m.results.Record(ctx, records)
	if err != nil {
		return nil, err
	}
	bare := slices.Clone(settlements)
	for k, i := range places {
		if refused != nil && refused[k] != nil && !errors.Is(refused[k], ErrDuplicate) {
			all[i] = refused[k]
			continue
		}
		bare[i].Result = withoutData(settlements[i].Result)
	}
	rest := make([]Settlement, 0, len(bare))
	at = at[:0]
	for i, s := range bare {
		if all[i] == nil {
			rest = append(rest, s)
			at = append(at, i)
		}
	}
	errs, err := m.Backend.Settle(ctx, rest)
	if err != nil {
		return nil, err
	}
	return merge(all, at, errs), nil
}

// Transaction is that of the queue's engine, which can enqueue. The data of results are elsewhere.
func (m *mixed) Transaction(tx any) (Transaction, error) {
	t, err := transaction(m.Backend, tx)
	if err != nil {
		return nil, err
	}
	return mixedTransaction{t}, nil
}

type mixedTransaction struct{ queue Transaction }

func (t mixedTransaction) Enqueue(ctx context.Context, tasks []*RawTask) ([]error, error) {
	if err := untied(tasks); err != nil {
		return nil, err
	}
	return t.queue.Enqueue(ctx, tasks)
}

func (mixedTransaction) Settle(context.Context, []Settlement) ([]error, error) {
	return nil, invalid("a task cannot be settled in a transaction where results are kept in another engine than the queue")
}

func (m *mixed) Result(ctx context.Context, id uuid.UUID) (*RawResult, error) {
	r, err := m.Backend.Result(ctx, id)
	return m.whole(ctx, id, r, err)
}

func (m *mixed) Await(ctx context.Context, id uuid.UUID) (*RawResult, error) {
	r, err := m.Backend.Await(ctx, id)
	return m.whole(ctx, id, r, err)
}

// whole returns what the queue has of a task, or, where that is no more than that there is a result, the result.
func (m *mixed) whole(ctx context.Context, id uuid.UUID, r *RawResult, err error) (*RawResult, error) {
	if errors.Is(err, ErrNotFound) || err == nil && r.Status == StatusSuccess && r.ResultData == nil {
		return m.results.Result(ctx, id)
	}
	return r, err
}

func (m *mixed) Record(ctx context.Context, results []*RawResult) ([]error, error) {
	known := make([]*RawResult, len(results)) // what the queue is to know of each
	for i, r := range results {
		known[i] = r
		if storedApart(r) {
			known[i] = withoutData(r)
		}
	}
	errs, err := m.Backend.Record(ctx, known)
	if err != nil {
		return nil, err
	}
	all := make([]error, len(results))
	copy(all, errs)
	var rest []*RawResult
	var ids []uuid.UUID
	var at []int
	for i, r := range results {
		if all[i] == nil && storedApart(r) {
			rest = append(rest, r)
			ids = append(ids, r.TaskID)
			at = append(at, i)
		}
	}
	errs, err = m.results.Record(ctx, rest)
	if err != nil {
		_, forgetErr := m.Backend.Forget(ctx, ids)
		return nil, errors.Join(err, forgetErr)
	}
	return merge(all, at, errs), nil
}

// storedApart reports whether the data of a result is kept in results.
func storedApart(r *RawResult) bool {
	return r != nil && r.Status == StatusSuccess && (r.TTL == nil || *r.TTL > 0)
}

func withoutData(r *RawResult) *RawResult {
	bare := *r
	bare.ResultData, bare.Codec = nil, ""
	return &bare
}

// merge puts errs, if there are any, into the places at of all, and returns nil if all of them are.
func merge(all []error, at []int, errs []error) []error {
	for k, err := range errs {
		all[at[k]] = err
	}
	if slices.ContainsFunc(all, func(err error) bool { return err != nil }) {
		return all
	}
	return nil
}

func (m *mixed) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	errs, err := m.Backend.Forget(ctx, ids)
	if err != nil {
		return nil, err
	}
	kept := make([]uuid.UUID, 0, len(ids)) // what may have a result
	var at []int
	for i, id := range ids {
		if errs == nil || errs[i] == nil || errors.Is(errs[i], ErrNotFound) {
			kept = append(kept, id)
			at = append(at, i)
		}
	}
	gone, err := m.results.Forget(ctx, kept)
	if err != nil {
		return nil, err
	}
	for k, i := range at {
		if errs != nil && errs[i] != nil && (gone == nil || gone[k] == nil) {
			errs[i] = nil // it was there after all
		}
	}
	return errs, nil
}

func (m *mixed) Close() error {
	err := m.Backend.Close()
	if c, ok := m.results.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}
