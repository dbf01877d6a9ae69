package sqlite_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// logged is what a logger has been told.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A worker's row that nobody can read is in no other's way: what is known of it is shown.
func TestUnreadableWorker(t *testing.T) {
	b := open(t, place(t))
	for _, id := range []string{"broken", "whole"} {
		require.NoError(t, b.Beat(t.Context(), omniq.WorkerInfo{ID: id, Queues: []string{"q"}, Up: time.Minute, Lease: time.Hour}))
	}
	_, err := b.DB().ExecContext(t.Context(), `UPDATE omniq_workers SET info = '{"ID":"whole","Host":"h","PID":"seven"' WHERE id = 'broken'`)
	require.NoError(t, err)
	workers, err := b.Workers(t.Context())
	require.NoError(t, err)
	require.Len(t, workers, 2)
	assert.Equal(t, omniq.WorkerInfo{ID: "broken", Seen: workers[0].Seen, Started: workers[0].Seen}, workers[0])
	assert.Equal(t, []string{"q"}, workers[1].Queues)
}

// A row that nobody can read does not come back for ever, and is in nobody's way.
func TestUnreadable(t *testing.T) {
	for name, change := range map[string]string{
		"no JSON":         "UPDATE omniq_tasks SET task = '{\"id\":' WHERE id = ?",
		"another task":    "UPDATE omniq_tasks SET task = replace(task, substr(task, 8, 36), '01234567-89ab-cdef-0123-456789abcdef') WHERE id = ?",
		"an empty text":   "UPDATE omniq_tasks SET task = '' WHERE id = ?",
		"something wrong": "UPDATE omniq_tasks SET task = '{}' WHERE id = ?",
	} {
		for _, ahead := range []int{0, 2} {
			t.Run(name, func(t *testing.T) {
				var log logged
				b := open(t, place(t), sqlite.WithEvents(time.Hour), sqlite.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				tasks := newTasks(2)
				enqueue(t, b, tasks...)
				_, err := b.DB().ExecContext(t.Context(), change, tasks[0].ID[:])
				require.NoError(t, err)
				request := omniq.LeaseRequest{
					Queues: []string{omniq.DefaultQueue}, Max: 2, Ahead: ahead, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
				}
				leases, err := b.Lease(t.Context(), request)
				require.NoError(t, err)
				require.Len(t, leases, 1)
				assert.Equal(t, tasks[1].ID, leases[0].TaskID)
				r, err := b.Result(t.Context(), tasks[0].ID)
				require.NoError(t, err)
				assert.Equal(t, omniq.StatusFailure, r.Status)
				require.NotNil(t, r.Error)
				assert.Contains(t, r.Error.Message, "the task cannot be read: ")
				require.NotNil(t, r.TTL)
				assert.Equal(t, omniq.DefaultFailureTTL, *r.TTL)
				assert.Contains(t, log.String(), tasks[0].ID.String())
				page, _, err := b.List(t.Context(), omniq.ListRequest{Status: omniq.StatusFailure, Max: 10})
				require.NoError(t, err)
				require.Len(t, page, 1)
				assert.Nil(t, page[0].Task)
				events, _, err := b.Events(t.Context(), omniq.EventsRequest{Max: 10})
				require.NoError(t, err)
				assert.Equal(t, omniq.EventFailed, events[len(events)-1].EventType)
			})
		}
	}
}

// What cannot be read of one row is shown in its place in a list.
func TestListUnreadable(t *testing.T) {
	b := open(t, place(t))
	tasks := newTasks(3)
	enqueue(t, b, tasks...)
	errs, err := b.Cancel(t.Context(), ids(tasks[0]))
	require.NoError(t, err)
	require.Nil(t, errs)
	l := lease(t, b, time.Minute)
	require.NoError(t, settle(t, b, omniq.Settlement{
		LeaseID: l.LeaseID, Action: omniq.ActionRetry, Error: &omniq.TaskError{Message: "no"},
	}))
	for _, q := range []string{
		"UPDATE omniq_results SET result = '{', task = '{'", "UPDATE omniq_tasks SET task = '{', error = '{' WHERE error IS NOT NULL",
	} {
		_, err := b.DB().ExecContext(t.Context(), q)
		require.NoError(t, err)
	}
	for status, n := range map[omniq.Status]int{omniq.StatusCancelled: 1, omniq.StatusPending: 2} {
		page, _, err := b.List(t.Context(), omniq.ListRequest{Status: status, Max: 10})
		require.NoError(t, err)
		require.Len(t, page, n)
		broken := 0
		for _, info := range page {
			assert.Equal(t, status, info.Status)
			if info.Task == nil {
				broken++
				require.NotNil(t, info.Error)
				assert.Contains(t, info.Error.Message, "cannot be read")
			}
		}
		assert.Equal(t, 1, broken)
	}
}

// What cannot be stored is refused in its place, the rest of the call is done, and the lease goes on.
func TestSettleRefuses(t *testing.T) {
	b := open(t, place(t), sqlite.WithEvents(time.Hour))
	large := strings.Repeat("x", 17<<20)
	keep := time.Hour
	for name, spoil := range map[string]func(*omniq.Settlement){
		"no JSON":            func(s *omniq.Settlement) { s.Result.ResultData = omniq.Raw(`{"a":`) },
		"too large a result": func(s *omniq.Settlement) { s.Result.ResultData = omniq.Raw(`"` + large + `"`) },
		"a result at the limit": func(s *omniq.Settlement) {
			s.Result.ResultData = omniq.Raw(`"` + large[:16<<20-2] + `"`)
		},
		"an error that is no UTF-8": func(s *omniq.Settlement) {
			s.Result.Status, s.Result.ResultData, s.Result.Error = omniq.StatusFailure, nil, &omniq.TaskError{Message: "\xff"}
		},
		"too large an error": func(s *omniq.Settlement) {
			s.Result.Status, s.Result.ResultData, s.Result.Error = omniq.StatusFailure, nil, &omniq.TaskError{Message: large}
		},
		"a retry with an error that is no UTF-8": func(s *omniq.Settlement) {
			s.Action, s.Result, s.Error = omniq.ActionRetry, nil, &omniq.TaskError{Message: "\xff"}
		},
		"a retry with too large an error": func(s *omniq.Settlement) {
			s.Action, s.Result, s.Error = omniq.ActionRetry, nil, &omniq.TaskError{Stack: large}
		},
	} {
		t.Run(name, func(t *testing.T) {
			enqueue(t, b, newTasks(2)...)
			leases := []omniq.Lease{lease(t, b, time.Minute), lease(t, b, time.Minute)}
			bad, good := finish(leases[0], "1", keep), finish(leases[1], "1", keep)
			spoil(&bad)
			errs, err := b.Settle(t.Context(), []omniq.Settlement{bad, good})
			require.NoError(t, err)
			require.Len(t, errs, 2)
			require.ErrorIs(t, errs[0], omniq.ErrInvalid)
			require.NoError(t, errs[1])
			require.NoError(t, settle(t, b, finish(leases[0], "2", keep)), "the lease goes on")
		})
	}
}

// What would be stored and not come back as it was is refused at the call.
func TestHostileTexts(t *testing.T) {
	b := open(t, place(t), sqlite.WithEvents(time.Hour))
	for name, text := range map[string]string{"NUL": "a\x00b", "no UTF-8": "a\xffb"} {
		for door, call := range map[string]func(context.Context) error{
			"a worker's ID": func(ctx context.Context) error {
				_, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"q"}, Max: 1, Duration: time.Minute, WorkerID: text})
				return err
			},
			"a queue that is leased": func(ctx context.Context) error {
				_, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{text}, Max: 1, Duration: time.Minute, WorkerID: "w"})
				return err
			},
			"a worker that asks": func(ctx context.Context) error { _, err := b.Revoked(ctx, text); return err },
			"Pause":              func(ctx context.Context) error { return b.Pause(ctx, text) },
			"Resume":             func(ctx context.Context) error { return b.Resume(ctx, text) },
			"List": func(ctx context.Context) error {
				_, _, err := b.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Queue: text, Max: 1})
				return err
			},
			"Free": func(ctx context.Context) error {
				_, err := b.Free(ctx, []omniq.UniqueKey{{FuncName: "f", Key: text}})
				return err
			},
			"a function's name": func(ctx context.Context) error {
				task := newTasks(1)[0]
				task.FuncName = text
				_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
				return err
			},
			"a task's queue": func(ctx context.Context) error {
				_, err := b.Enqueue(ctx, tasksIn(text, 1, func(*omniq.RawTask) {}))
				return err
			},
			"a unique key": func(ctx context.Context) error {
				task := newTasks(1)[0]
				task.UniqueKey = text
				_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
				return err
			},
			"a unique key in a transaction": func(ctx context.Context) error {
				task := newTasks(1)[0]
				task.UniqueKey = text
				tx, err := b.DB().BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				defer func() { _ = tx.Rollback() }()
				_, err = b.Tx(tx).Enqueue(ctx, []*omniq.RawTask{task})
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			assert.ErrorIs(t, call(ctx), omniq.ErrInvalid, "%s: %s", door, name)
			cancel()
		}
	}
}
