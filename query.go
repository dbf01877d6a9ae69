package omniq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Query says which tasks are meant: those of which all is so that it says. The zero Query means all tasks.
type Query struct {
	Statuses []Status  // in one of these states; none for all, or for those in which the call can do something
	Queue    string    // of this queue; empty for all
	Lane     string    // of this lane of Queue; empty for all
	Flow     uuid.UUID // of this flow; zero for all
	Name     string    // that call this function; empty for all
	Worker   string    // that this worker works on, or did last; empty for all
	Contains string    // with this text in what is kept of the task, or in its error: see ListRequest

	Where func(*TaskInfo) bool // of which it is true, here and not in the engine; nil for all
}

// request is what the engine is asked for of the query.
func (q *Query) request(s Status) ListRequest {
	return ListRequest{
		Status: s, Queue: q.Queue, Lane: q.Lane, Flow: q.Flow, Name: q.Name, Worker: q.Worker, Contains: q.Contains, Newest: true,
	}
}

// statuses are those of the query, each once, and one that the call can do something with.
func (q *Query) statuses(op string, possible ...Status) ([]Status, error) {
	if len(q.Statuses) == 0 {
		return possible, nil
	}
	var statuses []Status
	for _, s := range q.Statuses {
		if !slices.Contains(possible, s) {
			return nil, invalid("to %s tasks that are %v, want some of %v", op, s, possible)
		}
		if !slices.Contains(statuses, s) {
			statuses = append(statuses, s)
		}
	}
	return statuses, nil
}

// Search yields the tasks that a query means, state by state, in each the newest first. A task that is in its state all the
// time is yielded once, others may be missed; what gets into a state meanwhile is not looked at. After an error it yields no more.
//
// The engine looks at some thousand tasks in a call, whether it finds any or not, and the search goes on with the next ones: it ends
// soon after ctx has ended, and hinders nobody.
func (c *Client) Search(ctx context.Context, q Query) iter.Seq2[*TaskInfo, error] {
	return func(yield func(*TaskInfo, error) bool) {
		err := c.check()
		statuses, wrong := q.statuses("search", Statuses()...)
		if err := errors.Join(err, wrong); err != nil {
			yield(nil, err)
			return
		}
		for page, err := range c.search(ctx, q, statuses, pageSize) {
			if err != nil {
				yield(nil, fmt.Errorf("omniq: search: %w", err))
				return
			}
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// search yields what each call of the engine finds.
func (c *Client) search(ctx context.Context, q Query, statuses []Status, size int) iter.Seq2[[]*TaskInfo, error] {
	return func(yield func([]*TaskInfo, error) bool) {
		for _, s := range statuses {
			if s == StatusWaiting && !c.backend.Capabilities().Flows {
				continue // there are none
			}
			request := q.request(s)
			request.Max = size
			for {
				page, next, err := c.backend.List(ctx, request)
				if err != nil {
					yield(nil, err)
					return
				}
				if q.Where != nil {
					page = slices.DeleteFunc(page, func(info *TaskInfo) bool { return !q.Where(info) })
				}
				if len(page) > 0 && !yield(page, nil) {
					return
				}
				if next == "" {
					break
				}
				request.After = next
			}
		}
	}
}

// CancelAll cancels the tasks that a query means and that are not final, as [Client.Cancel] does, and returns how many it has
// cancelled, also with an error.
//
// It works in batches of up to a thousand, each of them all or none, the newest first; what comes meanwhile is left alone. The
// tasks that were refused, because they have ended meanwhile as a rule, are in a [BulkError]. It can be called again after any
// other error.
func (c *Client) CancelAll(ctx context.Context, q Query) (n int, err error) {
	return c.all(ctx, "cancel", q, Backend.Cancel, StatusWaiting, StatusPending, StatusRunning)
}

// RequeueAll enqueues the tasks again that a query means and that have failed for good, were cancelled or have expired, as
// [Client.Requeue] does, and returns how many of these it has enqueued, also with an error. Each is enqueued once, also if it fails
// again meanwhile. Batches and errors are as for [Client.CancelAll].
func (c *Client) RequeueAll(ctx context.Context, q Query) (n int, err error) {
	return c.all(ctx, "requeue", q, func(b Backend, ctx context.Context, ids []uuid.UUID) ([]error, error) {
		return b.Requeue(ctx, ids, true)
	}, StatusFailure, StatusCancelled, StatusExpired)
}

// ForgetAll removes the results of the tasks that a query means and that are final, as [Client.Forget] does, and returns how many
// it has removed, also with an error. Batches and errors are as for [Client.CancelAll].
func (c *Client) ForgetAll(ctx context.Context, q Query) (n int, err error) {
	return c.all(ctx, "forget", q, Backend.Forget, StatusSuccess, StatusFailure, StatusCancelled, StatusExpired)
}

// all does something with each task that a query means.
func (c *Client) all(
	ctx context.Context, op string, q Query, do func(Backend, context.Context, []uuid.UUID) ([]error, error), possible ...Status,
) (n int, err error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	statuses, err := q.statuses(op, possible...)
	if err != nil {
		return 0, err
	}
	var refused []RefusedTask
	met := make(map[uuid.UUID]bool) // in more than one state it may be met again
	for page, err := range c.search(ctx, q, statuses, maxBulk) {
		var ids []uuid.UUID
		var errs []error
		if err == nil {
			for _, info := range page {
				if !met[info.ID] {
					ids = append(ids, info.ID)
				}
				if len(statuses) > 1 {
					met[info.ID] = true
				}
			}
			errs, err = do(c.backend, ctx, ids)
		}
		if err != nil {
			return n, errors.Join(fmt.Errorf("omniq: %s all, after %d tasks: %w", op, n, err), bulkError(op, refused))
		}
		n += len(ids)
		for i, err := range errs {
			if err != nil {
				n--
				refused = append(refused, RefusedTask{ids[i], err})
			}
		}
	}
	return n, bulkError(op, refused)
}

// MaxGrouped is how many tasks of a state [Client.ErrorGroups] looks at.
const MaxGrouped = 10_000

// ErrorGroup are tasks with errors of one type, whose messages are the same but for numbers, IDs and what is in quotes.
type ErrorGroup struct {
	Type    string    // of their errors: see TaskError
	Message string    // what their messages have in common: see MaskMessage
	Count   int       // how many they are
	First   time.Time // when the first of them got its state; by the backend's clock
	Last    time.Time // when the last of them did
	Newest  *TaskInfo // that one
}

// Has reports whether a task belongs to the group. As the Where of a [Query] it means all of them.
func (g *ErrorGroup) Has(info *TaskInfo) bool {
	return info.Error != nil && info.Error.Type == g.Type && MaskMessage(info.Error.Message) == g.Message
}

// ErrorGroups groups the tasks that a query means by their errors: those that have failed for good, unless the query names states.
// Tasks without an error are left out. It looks at the [MaxGrouped] newest ones in each state. The largest group is the first.
func (c *Client) ErrorGroups(ctx context.Context, q Query) ([]ErrorGroup, error) {
	if len(q.Statuses) == 0 {
		q.Statuses = []Status{StatusFailure}
	}
	err := c.check()
	statuses, wrong := q.statuses("group", Statuses()...)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	groups := make(map[[2]string]*ErrorGroup)
	for _, status := range statuses {
		left := MaxGrouped
		for page, err := range c.search(ctx, q, []Status{status}, pageSize) {
			if err != nil {
				return nil, fmt.Errorf("omniq: group errors: %w", err)
			}
			for _, info := range page[:min(len(page), left)] {
				group(groups, info)
			}
			if left -= len(page); left <= 0 {
				break
			}
		}
	}
	list := make([]ErrorGroup, 0, len(groups))
	for _, g := range groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b ErrorGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Type, b.Type), strings.Compare(a.Message, b.Message))
	})
	return list, nil
}

// group adds a task to its group, if it has an error.
func group(groups map[[2]string]*ErrorGroup, info *TaskInfo) {
	if info.Error == nil {
		return
	}
	key := [2]string{info.Error.Type, MaskMessage(info.Error.Message)}
	g := groups[key]
	if g == nil {
		g = &ErrorGroup{Type: key[0], Message: key[1], First: info.Since, Last: info.Since, Newest: info}
		groups[key] = g
	}
	g.Count++
	if info.Since.Before(g.First) {
		g.First = info.Since
	}
	if info.Since.After(g.Last) {
		g.Last, g.Newest = info.Since, info
	}
}

// varying is what differs from one message of an error to the next.
var varying = regexp.MustCompile(
	`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}` + // a UUID
		`|"(?:[^"\\]|\\.)*"` + // what is quoted
		`|\b0[xX][0-9a-fA-F]+\b` +
		`|\b[0-9a-fA-F]{8,}\b` +
		`|[0-9]+(?:[.:][0-9]+)*`)

// MaskMessage is the message of an error with a * in the place of each number, UUID, long hexadecimal number, and text in double quotes.
func MaskMessage(message string) string { return varying.ReplaceAllString(message, "*") }
