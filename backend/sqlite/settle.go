package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// settlement is one that has been encoded.
type settlement struct {
	omniq.Settlement
	token    int64
	ok       bool         // the token can be one of ours
	refused  error        // its content cannot be stored
	envelope string       // of the result
	failure  driver.Value // the error of a retry
	enqueue  []newTask    // of its effects
	events   []string     // of its effects, if they are kept
}

// Settle ends leases with what became of their attempts: see [omniq.TaskQueue].
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	list, err := newSettlements(settlements)
	if err != nil {
		return nil, err
	}
	return b.each(ctx, len(list), func(t *tx, i int) (error, error) { return t.endLease(&list[i]) })
}

func newSettlements(settlements []omniq.Settlement) ([]settlement, error) {
	for i := range settlements {
		if err := engine.CheckSettlement(&settlements[i]); err != nil {
			return nil, err
		}
	}
	list := make([]settlement, len(settlements))
	for i := range settlements {
		s := &list[i]
		s.Settlement = settlements[i]
		s.token, s.ok = parseToken(s.Token)
		s.refused = s.encode()
	}
	return list, nil
}

// endLease does what a settlement says.
func (t *tx) endLease(s *settlement) (refused, err error) {
	switch {
	case s.refused != nil:
		return s.refused, nil
	case !s.ok:
		return omniq.ErrLeaseLost, nil
	case s.Effects != nil:
		return t.effect(s)
	}
	return t.endPlain(s)
}

// endPlain does what a settlement says, but for its effects.
func (t *tx) endPlain(s *settlement) (refused, err error) {
	if s.Action == omniq.ActionFinish {
		return t.settle(s)
	}
	return t.giveBack(s)
}

func (s *settlement) encode() (err error) {
	if err := engine.CheckOutcome(&s.Settlement); err != nil {
		return err
	}
	if s.Effects != nil {
		if err := s.encodeEffects(); err != nil {
			return err
		}
	}
	if s.Action == omniq.ActionFinish {
		s.envelope, err = encodeResult(s.Result)
		return err
	}
	if s.Action != omniq.ActionRetry || s.Error == nil {
		return nil
	}
	failure, err := json.Marshal(s.Error)
	if err != nil {
		return fmt.Errorf("%w: sqlite: the error of task %v: %w", omniq.ErrInvalid, s.TaskID, err)
	}
	s.failure = string(failure)
	return nil
}

func (s *settlement) encodeEffects() (err error) {
	if s.enqueue, err = encodeAll(s.Effects.Enqueue); err != nil {
		return fmt.Errorf("what task %v enqueues: %w", s.TaskID, err)
	}
	if len(s.Effects.After) > 0 {
		follow(s.enqueue, s.Effects.After)
	}
	for _, e := range s.Effects.Events {
		envelope, err := encodeEvent(e)
		if err != nil {
			return err
		}
		s.events = append(s.events, envelope)
	}
	return s.Effects.Notes.Validate()
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
	const columns = "SELECT seq, name, queue, due, worker, unique_key, lost, ties, lane"
	query := columns + " FROM omniq_tasks WHERE id = ? AND token = ? AND wake > ?"
	if s.Result.Status != omniq.StatusSuccess || s.KeepTask {
		query = columns + ", task FROM omniq_tasks WHERE id = ? AND token = ? AND wake > ?"
	}
	row := task{id: s.TaskID, state: stateRunning, token: s.token, keep: s.KeepTask}
	err = t.q.query(query, func(v []driver.Value) error {
		row.seq, row.name, row.queue, row.due = v[0].(int64), text(v[1]), text(v[2]), v[3].(int64)
		row.worker, row.uniqueKey, row.lost = v[4], v[5], v[6].(int64)
		row.ties, row.lane = v[7].(int64), v[8]
		if len(v) > 9 {
			row.envelope = text(v[9])
		}
		return nil
	}, s.TaskID[:], s.token, t.us)
	if err != nil {
		return nil, err
	}
	if row.seq == 0 {
		return omniq.ErrLeaseLost, nil
	}
	if err := t.holdBack(row.queue, row.lane, s.Hold); err != nil {
		return nil, err
	}
	if _, err := t.q.exec("DELETE FROM omniq_tasks WHERE seq = ?", row.seq); err != nil { // RETURNING would cost more
		return nil, err
	}
	t.tally(row.queue, row.name).ran(s.Took)
	return nil, t.finish(&row, s.Result, s.envelope)
}

// giveBack makes a task pending again.
func (t *tx) giveBack(s *settlement) (refused, err error) {
	var row task
	err = t.q.query("SELECT "+taskColumns+`, CASE WHEN deadline <= ?3 THEN task END FROM omniq_tasks
		WHERE id = ?1 AND token = ?2 AND wake > ?3`, func(v []driver.Value) error { row.scan(v); return nil },
		s.TaskID[:], s.token, t.us)
	if err != nil {
		return nil, err
	}
	if row.seq == 0 {
		return omniq.ErrLeaseLost, nil
	}
	if err := t.holdBack(row.queue, row.lane, s.Hold); err != nil {
		return nil, err
	}
	if s.Action == omniq.ActionRetry {
		if !row.started {
			row.attempt++
		}
		t.tally(row.queue, row.name).ran(s.Took)
		if err := t.note(omniq.EventRetried, row.id, row.name, row.queue, row.worker, int(row.attempt), s.Error); err != nil {
			return nil, err
		}
	} else if row.started {
		row.attempt--
	}
	switch {
	case s.Action != omniq.ActionDefer:
		row.shunned = nil
	case row.shunned == nil:
		row.shunned = t.us
	}
	if s.Delay > 0 || s.Action != omniq.ActionRelease {
		row.due = t.us + microseconds(s.Delay)
	}
	if deadline, ok := row.deadline.(int64); ok && deadline <= t.us {
		row.token = 0
		return nil, t.end(&row, omniq.StatusExpired)
	}
	return nil, t.pend(&row, s.Action == omniq.ActionRetry, s.failure)
}
