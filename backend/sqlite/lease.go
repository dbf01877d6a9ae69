package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// leased is a task that was handed out.
type leased struct {
	id                          uuid.UUID
	seq, priority, due, attempt int64
	envelope                    string
}

// Lease implements [omniq.TaskQueue].
func (b *Backend) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if len(r.Queues) == 0 || r.Max < 1 || r.Duration <= 0 {
		return nil, invalid("lease of at most %d tasks of queues %q for %v, want at least one of each", r.Max, r.Queues, r.Duration)
	}
	r.Queues = slices.Clone(r.Queues)
	for i, q := range r.Queues {
		r.Queues[i] = cmp.Or(q, omniq.DefaultQueue)
	}
	var (
		got     []leased
		token   int64
		expires int64
	)
	o := &op{queues: r.Queues, do: func(t *tx) (err error) {
		// A number by chance is one that no lease of this task has had, in whatever life and process.
		token, expires = rand.Int64(), t.us+microseconds(r.Duration)
		got, err = t.lease(b.w, &r, token, expires)
		if err == nil && len(got) == 0 && r.Wait > 0 {
			return errPark
		}
		return err
	}}
	limit := r.Wait
	if limit <= 0 { // it does not wait for tasks, and is done soon
		limit = -1
	}
	gone, err := b.wait(ctx, o, limit)
	switch {
	case err != nil:
		return nil, err
	case gone || len(got) == 0:
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		return nil, nil
	}
	return decodeLeases(got, token, expires)
}

// decodeLeases leaves out tasks that cannot be read, which nobody can do anything about here, unless there is no other.
func decodeLeases(got []leased, token, expires int64) (leases []omniq.Lease, err error) {
	leases = make([]omniq.Lease, 0, len(got))
	end := time.UnixMicro(expires)
	text := formatToken(token)
	for i := range got {
		raw := new(omniq.RawTask)
		if decodeErr := raw.UnmarshalJSON([]byte(got[i].envelope)); decodeErr != nil {
			err = fmt.Errorf("sqlite: task %v: %w", got[i].id, decodeErr)
			continue
		}
		leases = append(leases, omniq.Lease{
			LeaseID: omniq.LeaseID{TaskID: got[i].id, Token: text},
			Task:    raw, Attempt: int(got[i].attempt), Expires: end,
		})
	}
	if len(leases) == 0 {
		return nil, err
	}
	return leases, nil
}

// lease hands out what is ready.
func (t *tx) lease(w *writer, r *omniq.LeaseRequest, token, expires int64) ([]leased, error) {
	paused, err := w.pausedQueues()
	if err != nil {
		return nil, err
	}
	var all []leased
	for _, queue := range r.Queues {
		if len(all) == r.Max {
			break
		}
		if paused[queue] {
			continue
		}
		const q = `UPDATE omniq_tasks SET state = 2, attempt = attempt + 1, token = ?, since = ?, worker = ?, wake = ?
			WHERE seq IN (SELECT seq FROM omniq_tasks WHERE state = 1 AND queue = ? ORDER BY priority DESC, due, seq LIMIT ?)
			RETURNING id, seq, priority, due, attempt, task`
		first := len(all)
		err := t.q.query(q, func(v []driver.Value) error {
			all = append(all, leased{
				idOf(v[0]), v[1].(int64), v[2].(int64), v[3].(int64), v[4].(int64), text(v[5]),
			})
			return nil
		}, token, t.us, r.WorkerID, expires, queue, int64(r.Max-first))
		if err != nil {
			return nil, err
		}
		got := all[first:]
		if len(got) == 0 {
			continue
		}
		slices.SortFunc(got, func(a, b leased) int { // RETURNING has no order
			return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
		})
		t.add(queue, stateReady, -int64(len(got)))
		t.add(queue, stateRunning, int64(len(got)))
		for i := range got {
			if err := t.note(omniq.EventStarted, got[i].id, queue, r.WorkerID, int(got[i].attempt), nil); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// pausedQueues are those that are paused now, as far as others can have changed it.
func (w *writer) pausedQueues() (map[string]bool, error) {
	if w.paused != nil {
		return w.paused, nil
	}
	paused := make(map[string]bool)
	err := w.c.query("SELECT queue FROM omniq_paused", func(v []driver.Value) error { paused[text(v[0])] = true; return nil })
	if err != nil {
		return nil, err
	}
	w.paused = paused
	return paused, nil
}

// Extend implements [omniq.TaskQueue].
func (b *Backend) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if by <= 0 {
		return nil, invalid("extension of %d leases by %v, want a positive time", len(leases), by)
	}
	leases = slices.Clone(leases)
	return b.each(ctx, len(leases), func(t *tx, i int) (refused, err error) {
		l := leases[i]
		token, ok := parseToken(l.Token)
		if ok {
			n, err := t.q.exec("UPDATE omniq_tasks SET wake = max(wake, ?) WHERE id = ? AND token = ?",
				t.us+microseconds(by), l.TaskID[:], token)
			if err != nil || n > 0 {
				return nil, err
			}
		}
		status, err := one(t.q, "SELECT status FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ?)",
			l.TaskID[:], t.us)
		if err != nil {
			return nil, err
		}
		if omniq.Status(status) == omniq.StatusCancelled {
			return omniq.ErrCancelled, nil
		}
		return omniq.ErrLeaseLost, nil
	})
}

// formatToken and parseToken are between a lease's number and its form outside.
func formatToken(n int64) string { return strconv.FormatInt(n, 36) }

func parseToken(s string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s, 36, 64)
	return n, err == nil
}
