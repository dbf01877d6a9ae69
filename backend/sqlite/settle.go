package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"github.com/omniq-go/omniq"
)

// settlement is one that has been encoded.
type settlement struct {
	omniq.Settlement
	token    int64
	ok       bool         // the token can be one of ours
	envelope string       // of the result
	failure  driver.Value // the error of a retry
}

// Settle implements [omniq.TaskQueue].
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	list := make([]settlement, len(settlements))
	for i := range settlements {
		if err := list[i].encode(&settlements[i]); err != nil {
			return nil, err
		}
	}
	return b.each(ctx, len(list), func(t *tx, i int) (error, error) {
		s := &list[i]
		switch {
		case !s.ok:
			return omniq.ErrLeaseLost, nil
		case s.Action == omniq.ActionFinish:
			return t.settle(s)
		}
		return t.giveBack(s)
	})
}

func (s *settlement) encode(from *omniq.Settlement) error {
	s.Settlement = *from
	s.token, s.ok = parseToken(from.Token)
	switch s.Action {
	case omniq.ActionRelease:
		return nil
	case omniq.ActionRetry:
		if s.Error == nil {
			return nil
		}
		failure, err := json.Marshal(s.Error)
		if err != nil {
			return fmt.Errorf("%w: sqlite: the error of task %v: %w", omniq.ErrInvalid, s.TaskID, err)
		}
		s.failure = string(failure)
		return nil
	case omniq.ActionFinish:
		if s.Result == nil || s.Result.TaskID != s.TaskID || !s.Result.Status.Final() {
			return invalid("task %v finishes with result %+v, want its own with a final status", s.TaskID, s.Result)
		}
		var err error
		s.envelope, err = encodeResult(s.Result)
		return err
	}
	return invalid("settlement of task %v with action %d, want one that exists", s.TaskID, s.Action)
}

func encodeResult(r *omniq.RawResult) (string, error) {
	buf, err := r.AppendJSON(make([]byte, 0, 256+len(r.ResultData)))
	if err != nil {
		return "", fmt.Errorf("%w: sqlite: the result of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	return string(buf), nil
}

// settle ends a task with its result.
func (t *tx) settle(s *settlement) (refused, err error) {
	// What is not needed is not read: the task of one that succeeded.
	query := "SELECT seq, name, queue, due, worker, unique_key FROM omniq_tasks WHERE id = ? AND token = ?"
	if s.Result.Status != omniq.StatusSuccess {
		query = "SELECT seq, name, queue, due, worker, unique_key, task FROM omniq_tasks WHERE id = ? AND token = ?"
	}
	row := task{id: s.TaskID, state: stateRunning}
	err = t.q.query(query, func(v []driver.Value) error {
		row.seq, row.name, row.queue, row.due = v[0].(int64), text(v[1]), text(v[2]), v[3].(int64)
		row.worker, row.uniqueKey = v[4], v[5]
		if len(v) > 6 {
			row.envelope = text(v[6])
		}
		return nil
	}, s.TaskID[:], s.token)
	if err != nil {
		return nil, err
	}
	if row.seq == 0 {
		return omniq.ErrLeaseLost, nil
	}
	if _, err := t.q.exec("DELETE FROM omniq_tasks WHERE seq = ?", row.seq); err != nil { // RETURNING would cost more
		return nil, err
	}
	return nil, t.finish(&row, s.Result, s.envelope)
}

// giveBack makes a task pending again.
func (t *tx) giveBack(s *settlement) (refused, err error) {
	var row task
	err = t.q.query("SELECT "+taskColumns+" FROM omniq_tasks WHERE id = ? AND token = ?",
		func(v []driver.Value) error { row.scan(v); return nil }, s.TaskID[:], s.token)
	if err != nil {
		return nil, err
	}
	if row.seq == 0 {
		return omniq.ErrLeaseLost, nil
	}
	due, attempt := row.due, row.attempt
	if s.Action == omniq.ActionRelease {
		attempt--
	} else {
		due = t.us
		if err := t.note(omniq.EventRetried, row.id, row.queue, row.worker, int(attempt), s.Error); err != nil {
			return nil, err
		}
	}
	if !s.At.IsZero() {
		due = micros(s.At)
	}
	return nil, t.pend(&row, due, attempt, s.Action == omniq.ActionRetry, s.failure)
}
