package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

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
	var errs []error
	err = b.write(ctx, func(t *tx) (err error) { errs, err = t.endLeases(context.Background(), list); return err })
	if err != nil {
		return nil, err
	}
	return errs, nil
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

// endLeases does what settlements say, and returns why some are refused: nil for none. It looks at the context between them, and the
// transaction is to be taken back if it has ended.
func (t *tx) endLeases(ctx context.Context, list []settlement) (errs []error, err error) {
	for i := 0; i < len(list); {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		plain := plainEnds(list[i:])
		if len(plain) == 0 {
			refused, err := t.endLease(&list[i])
			if err != nil {
				return nil, err
			}
			if refused != nil {
				errs = engine.Report(errs, len(list), i, refused)
			}
			i++
			continue
		}
		held, err := t.settle(plain)
		if err != nil {
			return nil, err
		}
		for _, ok := range held {
			if !ok {
				errs = engine.Report(errs, len(list), i, omniq.ErrLeaseLost)
			}
			i++
		}
	}
	return errs, nil
}

// plainEnds are the first settlements, of different tasks, that end them without effects, as many as one statement stores.
func plainEnds(list []settlement) []settlement {
	seen := make(map[uuid.UUID]bool)
	size := 0
	for i := range list {
		s := &list[i]
		size += len(s.envelope)
		if s.refused != nil || !s.ok || s.Effects != nil || s.Action != omniq.ActionFinish || seen[s.TaskID] || i == atOnce ||
			i > 0 && size > bytesAtOnce {
			return list[:i]
		}
		seen[s.TaskID] = true
	}
	return list
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
	if s.Action != omniq.ActionFinish {
		return t.giveBack(s)
	}
	held, err := t.settle([]settlement{*s})
	if err == nil && !held[0] {
		refused = omniq.ErrLeaseLost
	}
	return refused, err
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

// findLeased finds the rows of tasks whose leases last.
var findLeased = newMany("WITH asked (i, id, token) AS (VALUES ", 3, `)
	SELECT i, t.seq, t.name, t.queue, t.worker, t.unique_key, t.ties, t.lane
	FROM asked CROSS JOIN omniq_tasks t ON t.id = asked.id WHERE t.token = asked.token AND t.wake > ?`)

// settle ends different tasks with their results, and returns for which of them the lease was held.
func (t *tx) settle(list []settlement) (held []bool, err error) {
	asked := make([]driver.Value, 0, findLeased.width*len(list))
	for i := range list {
		asked = append(asked, int64(i), list[i].TaskID[:], list[i].token)
	}
	held = make([]bool, len(list))
	rows := make([]task, len(list))
	err = findLeased.query(t.q, func(v []driver.Value) error {
		i := v[0].(int64)
		held[i] = true
		rows[i] = task{
			id: list[i].TaskID, state: stateRunning, token: list[i].token, seq: v[1].(int64), name: text(v[2]), queue: text(v[3]),
			worker: v[4], uniqueKey: v[5], ties: v[6].(int64), lane: v[7],
		}
		return nil
	}, asked, t.us)
	if err != nil {
		return nil, err
	}
	ends := make([]outcome, 0, len(list))
	for i := range list {
		s, r := &list[i], &rows[i]
		if !held[i] {
			continue
		}
		ends = append(ends, outcome{r, s.Result, s.envelope, s.Result.Status != omniq.StatusSuccess || s.KeepTask})
		if err := t.holdBack(r.queue, r.lane, s.Hold); err != nil {
			return nil, err
		}
		t.tally(r.queue, r.name).ran(s.Took)
	}
	if err := t.replaceRows(ends); err != nil {
		return nil, err
	}
	for i := range ends {
		if err := t.finishRest(&ends[i]); err != nil {
			return nil, err
		}
	}
	return held, nil
}

var (
	// keepResults stores the results of tasks whose rows are there, the same rows as keep: what a result has of its task is not read.
	keepResults = newMany("WITH ended (seq, status, expires, result, keeps) AS (VALUES ", 5, `)
		INSERT INTO omniq_results (id, status, name, queue, since, due, worker, expires, result, task, lost, ties, until, look)
		SELECT t.id, status, t.name, t.queue, ?, nullif(t.due, 0), t.worker, iif(t.ties & 128 = 0, expires, NULL), result, iif(keeps, t.task, NULL),
			t.lost, t.ties, iif(t.ties & 128, expires, NULL), iif(t.ties & 128, expires, NULL)
		FROM ended CROSS JOIN omniq_tasks t ON t.seq = ended.seq WHERE true ON CONFLICT (id) DO NOTHING`)
	removeTasks = newMany("DELETE FROM omniq_tasks WHERE seq IN (", 1, ")")
)

// replaceRows stores the results of tasks in the place of their rows.
func (t *tx) replaceRows(list []outcome) error {
	seqs := make([]driver.Value, len(list))
	values := make([]driver.Value, 0, keepResults.width*len(list))
	for i := range list {
		f := &list[i]
		seqs[i] = f.seq
		values = append(values, f.seq, int64(f.result.Status), t.expiry(f.result.TTL), f.text, f.keeps)
	}
	for rest := list; len(rest) > 0; {
		n, all, err := keepResults.addNew(t.q, "omniq_results", values, t.us)
		if err != nil {
			return err
		}
		if all {
			values, rest = values[n*keepResults.width:], rest[n:]
			continue
		}
		for i := range rest[:n] { // some are of earlier lives of the tasks, whose time is over
			if err := t.drop(rest[i].id); err != nil {
				return err
			}
		}
	}
	for i := range list {
		t.countResult(&list[i])
	}
	return removeTasks.exec(t.q, seqs)
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
