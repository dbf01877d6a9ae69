package omniq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"
)

// Flow is all the tasks that were stored as one graph, and those that its members have added: see [Promise.Enqueue]. It is a
// small value that any number of goroutines may use. Its methods are for people and tools that look after flows.
type Flow struct {
	client *Client
	id     uuid.UUID
}

// Flow returns the flow with this ID, in any process: [Handle.Flow] tells it of a task, and [Info] in a handler. It asks nobody
// whether there is one.
func (c *Client) Flow(id uuid.UUID) Flow { return Flow{c, id} }

// Flow returns the flow that the task is a member of. It asks the backend, unless the handle is that of [Promise.Enqueue], which
// knows. [ErrInvalid] says that the task is a member of none: it was enqueued by itself, not as a promise. [ErrNotFound] says
// that nothing is kept of the task.
func (h *Handle[R]) Flow(ctx context.Context) (Flow, error) {
	if err := h.check(); err != nil {
		return Flow{}, err
	}
	if h.flow != uuid.Nil {
		return h.client.Flow(h.flow), nil
	}
	info, err := h.client.Inspect(ctx, h.id)
	if err != nil {
		return Flow{}, err
	}
	if info.Flow == uuid.Nil {
		return Flow{}, invalid("task %v is a member of no flow: it was enqueued by itself, want one that was enqueued as a promise", h.id)
	}
	return h.client.Flow(info.Flow), nil
}

// ID is the flow's ID. With it [Client.Flow] gives the flow again.
func (f Flow) ID() uuid.UUID { return f.id }

func (f Flow) check() error {
	if err := f.client.check(); err != nil {
		return err
	}
	if f.id == uuid.Nil {
		return invalid("a flow with an ID of all zeros, want that of a flow: the task may be a member of none")
	}
	return nil
}

// fault says what was asked of which flow.
func (f Flow) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("omniq: %s flow %v: %w", what, f.id, err)
}

// Stats returns how many members are in each state now, and by that the state of the whole: see [FlowStats.Status]. [ErrNotFound]
// says that nothing is kept of the flow.
func (f Flow) Stats(ctx context.Context) (FlowStats, error) {
	if err := f.check(); err != nil {
		return FlowStats{}, err
	}
	stats, err := f.client.backend.FlowStats(ctx, f.id)
	return stats, f.fault("stats of", err)
}

// Tasks yields the members, with the states that they are in and what they wait for or have waited for: the graph. It reads page
// by page. Each member that there is all the time is yielded once; others, which are added or forgotten meanwhile, may be missed.
// Of a flow of which nothing is kept it yields none. After an error it yields no more.
func (f Flow) Tasks(ctx context.Context) iter.Seq2[*TaskInfo, error] {
	return func(yield func(*TaskInfo, error) bool) {
		if err := f.check(); err != nil {
			yield(nil, err)
			return
		}
		for info, err := range f.list(ctx, 0, pageSize) {
			if !yield(info, f.fault("list", err)) {
				return
			}
		}
	}
}

// list yields the members in a state, or in any for zero.
func (f Flow) list(ctx context.Context, status Status, page int) iter.Seq2[*TaskInfo, error] {
	return f.client.pages(ctx, ListRequest{Status: status, Flow: f.id, Max: page})
}

// Wait blocks until all members are final or ctx ends, and returns how many have ended in which way. That some have failed is no
// error: [FlowStats.Status] tells. A signal among them that nobody sends and that has no [TTL] keeps it waiting.
//
// The figures are those of the results that are kept then. [ErrNotFound] says that nothing was kept of the flow when Wait began.
// After any other error it can be called again. A handler that waits for its own flow waits for itself, until its context ends.
func (f Flow) Wait(ctx context.Context) (FlowStats, error) {
	if err := f.check(); err != nil {
		return FlowStats{}, err
	}
	for seen := false; ; seen = true {
		stats, err := f.client.backend.FlowStats(ctx, f.id)
		switch {
		case seen && errors.Is(err, ErrNotFound): // the last result was not kept
			return FlowStats{}, nil
		case err != nil:
			return FlowStats{}, f.fault("wait for", err)
		case stats.Open() == 0:
			return stats, nil
		}
		if err := f.awaitOne(ctx); err != nil {
			return FlowStats{}, f.fault("wait for", err)
		}
	}
}

// awaitOne waits for a member that is not final: one that is likely to end late, so that Wait asks seldom.
func (f Flow) awaitOne(ctx context.Context) error {
	for _, status := range []Status{StatusWaiting, StatusPending, StatusRunning} {
		var last *TaskInfo
		n := 0
		for info, err := range f.list(ctx, status, pageSize) {
			if err != nil {
				return err
			}
			last = info
			if n++; n == pageSize {
				break
			}
		}
		if last == nil {
			continue
		}
		if _, err := f.client.backend.Await(ctx, last.ID); err != nil && !errors.Is(err, ErrNotFound) { // then it has ended
			return err
		}
		return nil
	}
	sleep(ctx, firstResend) // each was in another state when it was looked for
	return nil
}

// Cancel ends each member that is not final as [Client.Cancel] does, also those that members add meanwhile. It returns how many
// it has cancelled, also with an error; those that could not start any more, because of others that it had cancelled, may not be
// among them. It can be called again. [ErrNotFound] says that nothing is kept of the flow.
func (f Flow) Cancel(ctx context.Context) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	n, err := f.client.backend.CancelFlow(ctx, f.id)
	return n, f.fault("cancel", err)
}

// Requeue makes the flow go on where it has stopped: it enqueues each member again that has ended without success, and returns
// how many. These are the members that failed, have expired or were cancelled, and those that could not start because of them.
// They wait for each other as before.
//
// Members that succeeded are not run again, as long as their results are kept, and those are kept that others need: they are the
// inputs of the others once more. A handler that has handed its result over by [Become] runs again, and what it brings is new,
// beside what it has brought before. Tasks of other flows that could not start because of a member stay as they are.
//
// A member whose state changes meanwhile is left alone. One whose unique key another task holds by now stays as it is, with those
// that need it; these are in a [BulkError], and the others are done. [ErrNotFound] says that nothing is kept of the flow. Requeue
// works in batches of a thousand, each of them all or none. It returns what it has done also with an error, and can be called
// again.
func (f Flow) Requeue(ctx context.Context) (int, error) {
	return f.requeue(ctx, StatusFailure, StatusExpired, StatusCancelled)
}

// RequeueFailed is [Flow.Requeue] for the members alone that failed or have expired. Those that were cancelled, by somebody or
// because what they need did not succeed, stay so, until Requeue.
func (f Flow) RequeueFailed(ctx context.Context) (int, error) {
	return f.requeue(ctx, StatusFailure, StatusExpired)
}

func (f Flow) requeue(ctx context.Context, statuses ...Status) (n int, err error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	var members []endedMember
	for _, status := range statuses {
		for info, err := range f.list(ctx, status, maxBulk) {
			if err != nil {
				return 0, f.fault("requeue", err)
			}
			members = append(members, memberOf(info))
		}
	}
	if len(members) == 0 {
		_, err := f.client.backend.FlowStats(ctx, f.id)
		return 0, f.fault("requeue", err)
	}
	var refused []RefusedTask
	for ids := range slices.Chunk(inOrder(members), maxBulk) {
		errs, err := f.client.backend.Requeue(ctx, ids, false)
		if err != nil {
			return n, errors.Join(f.fault("requeue", fmt.Errorf("after %d tasks: %w", n, err)), bulkError("requeue", refused))
		}
		n += len(ids)
		for i, err := range errs {
			if err == nil {
				continue
			}
			n--
			if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrState) { // with these it has changed, or one that it needs
				refused = append(refused, RefusedTask{ids[i], err})
			}
		}
	}
	return n, bulkError("requeue", refused)
}

// endedMember is a member of a flow that has ended, and what it depends on.
type endedMember struct {
	id    uuid.UUID
	after []uuid.UUID
}

func memberOf(info *TaskInfo) endedMember {
	m := endedMember{id: info.ID}
	for _, d := range info.After {
		m.after = append(m.after, d.ID)
	}
	if info.Task != nil { // it may have handed over to others: then these are what it will wait for
		for _, d := range info.Task.After {
			m.after = append(m.after, d.ID)
		}
	}
	return m
}

// inOrder returns the IDs of the members, each after those that it depends on: one cannot be requeued before these.
func inOrder(members []endedMember) []uuid.UUID {
	at := make(map[uuid.UUID]int, len(members))
	for i, m := range members {
		at[m.id] = i
	}
	left := make([]int, len(members)) // how many of what each depends on are to come
	followers := make([][]int, len(members))
	for i, m := range members {
		for _, id := range m.after {
			if dep, ok := at[id]; ok {
				left[i]++
				followers[dep] = append(followers[dep], i)
			}
		}
	}
	next := make([]int, 0, len(members))
	for i := range members {
		if left[i] == 0 {
			next = append(next, i)
		}
	}
	for done := 0; done < len(next); done++ {
		for _, i := range followers[next[done]] {
			if left[i]--; left[i] == 0 {
				next = append(next, i)
			}
		}
	}
	for i := range members {
		if left[i] > 0 { // it has waited for what waits for it: the backend says so
			next = append(next, i)
		}
	}
	ids := make([]uuid.UUID, len(next))
	for i, m := range next {
		ids[i] = members[m].id
	}
	return ids
}
