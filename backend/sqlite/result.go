package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// errWake says that something has happened to a task by itself, and it is not yet written down.
var errWake = errors.New("to be advanced")

// settled calls look, and again after what was to happen to the task by itself is written down, if look finds that it is
// not.
func (b *Backend) settled(ctx context.Context, id uuid.UUID, look func(*conn) error) error {
	for {
		err := b.read(ctx, look)
		if !errors.Is(err, errWake) {
			return err
		}
		err = b.write(ctx, func(t *tx) error {
			_, err := t.find(id)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// Result returns a task's result as it is now: see [omniq.ResultStore].
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.result(ctx, id, time.Time{})
}

// result is Result for one who has begun to wait at a time, if that is not zero: what became final since then counts
// even if it is not kept.
func (b *Backend) result(ctx context.Context, id uuid.UUID, began time.Time) (r *omniq.RawResult, err error) {
	err = b.settled(ctx, id, func(c *conn) error {
		r, err = lookUp(c, id, began, b.config.clock().UnixMicro())
		return err
	})
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, omniq.ErrNotFound
	}
	return r, nil
}

// lookUp returns what is known of a task: nil for nothing.
func lookUp(c *conn, id uuid.UUID, began time.Time, now int64) (found *omniq.RawResult, err error) {
	const q = `SELECT state, since, attempt, wake, NULL FROM omniq_tasks WHERE id = ?
		UNION ALL SELECT status, since, NULL, expires, result FROM omniq_results WHERE id = ?`
	err = c.query(q, func(v []driver.Value) error {
		at, ends := v[3].(int64)
		ends = ends && at <= now
		switch envelope := text(v[4]); {
		case found != nil: // a task is not what it was in an earlier life
		case envelope != "":
			if ends && (began.IsZero() || moment(v[1]).Before(began)) {
				return nil
			}
			found = new(omniq.RawResult)
			return decodeResult(id, envelope, found)
		case ends:
			return errWake
		default:
			found = &omniq.RawResult{
				TaskID: id, Status: statusOf[v[0].(int64)], Timestamp: moment(v[1]), Attempts: int(v[2].(int64)),
			}
		}
		return nil
	}, id[:], id[:])
	return found, err
}

func decodeResult(id uuid.UUID, envelope string, to *omniq.RawResult) error {
	if err := to.UnmarshalJSON([]byte(envelope)); err != nil {
		return fmt.Errorf("sqlite: the result of task %v: %w", id, err)
	}
	if to.TaskID != id {
		return fmt.Errorf("sqlite: the result of task %v stands in the row of task %v", to.TaskID, id)
	}
	if to.Status != omniq.StatusSuccess && string(to.ResultData) == "null" { // how nothing is written
		to.ResultData = nil
	}
	return nil
}

// Record keeps results of tasks that another engine queues: see [omniq.ResultStore].
func (b *Backend) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResults(results); err != nil {
		return nil, err
	}
	envelopes := make([]string, len(results))
	for i, r := range results {
		var err error
		if envelopes[i], err = encodeResult(r); err != nil {
			return nil, err
		}
	}
	results = slices.Clone(results)
	return b.each(ctx, len(results), func(t *tx, i int) (refused, err error) {
		id := results[i].TaskID
		queued, err := t.find(id)
		if err != nil {
			return nil, err
		}
		status, err := t.status(id)
		switch {
		case err != nil:
			return nil, err
		case queued != nil:
			return omniq.ErrState, nil
		case status != 0:
			return omniq.ErrDuplicate, nil
		}
		return nil, t.keep(&outcome{task: &task{id: id, queue: omniq.DefaultQueue}, result: results[i], text: envelopes[i]})
	})
}

// Forget removes results before their time is over: see [omniq.ResultStore].
func (b *Backend) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	ids = slices.Clone(ids)
	return b.each(ctx, len(ids), func(t *tx, i int) (refused, err error) {
		r, err := t.find(ids[i])
		if err != nil {
			return nil, err
		}
		if r != nil {
			return stateError(statusOf[r.state], "one that is final"), nil
		}
		// The row is kept for a moment for those who wait in other processes, see omniq_results.
		const q = `UPDATE omniq_results SET expires = ?, task = NULL
			WHERE id = ? AND (expires IS NULL OR expires > ?) AND ties & 128 = 0`
		n, err := t.q.exec(q, t.us, ids[i][:], t.us)
		if err != nil || n > 0 {
			return nil, err
		}
		return t.forgetInput(ids[i])
	})
}

// forgetInput removes a result that may be an input of others.
func (t *tx) forgetInput(id uuid.UUID) (refused, err error) {
	status, err := t.status(id)
	if err != nil {
		return nil, err
	}
	if status == 0 {
		return omniq.ErrNotFound, nil
	}
	by, err := needed(t.q, id, t.us)
	if err != nil {
		return nil, err
	}
	if by != uuid.Nil {
		return fmt.Errorf("%w: its result is an input of task %v, which has not succeeded", omniq.ErrState, by), nil
	}
	_, err = t.q.exec("UPDATE omniq_results SET expires = ?, look = NULL, task = NULL WHERE id = ?", t.us, id[:])
	return nil, err
}
