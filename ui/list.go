package ui

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// listed is the order in which tasks of all states are listed: what is under way, what has gone wrong, and the rest.
var listed = []omniq.Status{
	omniq.StatusRunning, omniq.StatusFailure, omniq.StatusPending, omniq.StatusWaiting, omniq.StatusExpired, omniq.StatusCancelled,
	omniq.StatusSuccess,
}

// Bounds of a page of tasks.
const (
	pageTasks = 50
	pageTime  = 300 * time.Millisecond // after which it is shown as far as it has come
	maxCursor = 2000                   // bytes
)

// found are tasks of one page.
type found struct {
	Tasks []*omniq.TaskInfo
	Next  string // where the next page begins, empty after the last
}

// list looks for one page of tasks, from a place on that a page before has told. It ends when it has enough, or when its time is over.
func (h *Handler) list(ctx context.Context, q omniq.Query, from string) (found, error) {
	statuses := q.Statuses
	if len(statuses) == 0 {
		statuses = listed
	}
	first, after, err := splitCursor(from, statuses)
	if err != nil {
		return found{}, err
	}
	var f found
	began := time.Now()
	for i := first; i < len(statuses); i++ {
		for {
			r := omniq.ListRequest{
				Status: statuses[i], Queue: q.Queue, Lane: q.Lane, Flow: q.Flow, Name: q.Name, Worker: q.Worker, Contains: q.Contains,
				Newest: true, After: after, Max: pageTasks - len(f.Tasks),
			}
			if q.Where != nil {
				r.Max = 4 * pageTasks // few of them may be meant
			}
			page, next, err := h.client.Page(ctx, r)
			if err != nil {
				return found{}, cursorFault(err, after)
			}
			if q.Where != nil {
				page = slices.DeleteFunc(page, func(info *omniq.TaskInfo) bool { return !q.Where(info) })
			}
			f.Tasks = append(f.Tasks, brief(page...)...)
			after = next
			if next == "" {
				break
			}
			if len(f.Tasks) >= pageTasks || time.Since(began) > pageTime {
				f.Next = statuses[i].String() + "." + next
				return f, nil
			}
		}
		if i+1 < len(statuses) && (len(f.Tasks) >= pageTasks || time.Since(began) > pageTime) {
			f.Next = statuses[i+1].String() + "."
			return f, nil
		}
	}
	return f, nil
}

// brief leaves of tasks what lists show. What is seen is kept for a while, and payloads may be large.
func brief(tasks ...*omniq.TaskInfo) []*omniq.TaskInfo {
	for _, info := range tasks {
		info.After, info.Progress, info.State, info.Task = nil, nil, nil, nil
	}
	return tasks
}

func splitCursor(from string, statuses []omniq.Status) (first int, after string, err error) {
	if from == "" {
		return 0, "", nil
	}
	name, after, _ := strings.Cut(from, ".")
	for i, s := range statuses {
		if s.String() == name && len(from) <= maxCursor {
			return i, after, nil
		}
	}
	return 0, "", &statusError{http.StatusBadRequest, "This list has no such page."}
}

// cursorFault tells of a place in a list that the engine does not know.
func cursorFault(err error, after string) error {
	if after != "" && errors.Is(err, omniq.ErrInvalid) {
		return &statusError{http.StatusBadRequest, "This list has no such page."}
	}
	return err
}

// counted is how many tasks a search means.
type counted struct {
	N    int
	More bool // there are more, or may be
}

// Bounds of a count.
const (
	maxCounted = 10_000
	countTime  = 2 * time.Second
)

// count counts what a query means, as far as that is soon done.
func (h *Handler) count(ctx context.Context, q omniq.Query) (c counted, err error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	for _, err := range h.client.Search(ctx, q) {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			return counted{c.N, true}, nil
		}
		if err != nil {
			return counted{}, err
		}
		if c.N == maxCounted {
			return counted{c.N, true}, nil
		}
		c.N++
	}
	return c, nil
}

// String tells the number, and that it is no more than known.
func (c counted) String() string {
	if c.More {
		return count(c.N) + " or more"
	}
	return count(c.N)
}
