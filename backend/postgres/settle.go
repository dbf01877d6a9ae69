package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// ending is how a task becomes final.
type ending struct {
	hold
	result   *omniq.RawResult
	envelope string // of the result
}

// A token counts for leases only: who has locked the rows already knows them.
const finishTasks = `WITH
	gone AS (
		DELETE FROM {s}.tasks t
		USING unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::integer[], $7::text[])
			AS i (id, token, status, keep, result, attempts, error)
		WHERE t.id = i.id AND ($8 OR t.token = i.token AND coalesce(t.wake > {now}, false))
		RETURNING t.id, t.name, t.queue, t.state, t.due, t.worker, t.unique_key,
			CASE WHEN i.status > 3 THEN t.task END AS task, i.token, i.status, i.keep, i.result, i.attempts, i.error),
	kept AS (
		INSERT INTO {s}.results (id, since, expires, due, status, name, queue, worker, result, task)
		SELECT id, {now}, {now} + keep * interval '1 microsecond', due, status, name, queue, worker, result, task FROM gone),
	released AS (
		DELETE FROM {s}.unique_keys WHERE ctid = ANY (ARRAY (
			SELECT u.at FROM (SELECT id, name, unique_key FROM gone WHERE unique_key IS NOT NULL ORDER BY name, unique_key OFFSET 0) g
			CROSS JOIN LATERAL (SELECT ctid AS at FROM {s}.unique_keys u
				WHERE u.name = g.name AND u.key = g.unique_key AND u.id = g.id AND u.until IS NULL
				FOR UPDATE) u))),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, state, status, count(*) AS n FROM gone GROUP BY queue, state, status) g
		CROSS JOIN LATERAL (VALUES (g.state, -g.n), (g.status, g.n)) c (state, n))
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, task_id, type, attempt, queue, worker, error)
		SELECT {until}, {now}, id, CASE status WHEN 5 THEN 6 WHEN 6 THEN 7 ELSE status END, attempts, queue, worker, error
		FROM gone):events}
	SELECT id, token FROM gone`

// A task has no result while it is not final, unless calls with its ID crossed each other. Then this has to go before.
const replaceResults = dropFirst + "AND (SELECT true FROM {s}.tasks t WHERE t.id = r.id)" + dropThen

// crossed reports whether there was a result already.
func crossed(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505" && e.ConstraintName == "results_pkey"
}

// finish makes tasks final. With locked it does so whatever their leases are: the caller has locked their rows.
func (b *Backend) finish(endings []ending, locked bool, done func(hold)) (stmt, error) {
	endings = slices.Clone(endings)
	slices.SortFunc(endings, func(x, y ending) int { return x.compare(y.hold) })
	n := len(endings)
	ids, tokens, statuses := make(list[pgtype.UUID], n), make(list[int64], n), make(list[int16], n)
	keeps, results := make(list[pgtype.Int8], n), make(list[string], n)
	attempts, failures := make(list[int32], n), make(list[pgtype.Text], n)
	for i := range endings {
		e := &endings[i]
		failure, err := encodeError(e.result.Error)
		if err != nil {
			return stmt{}, err
		}
		ids[i], tokens[i], statuses[i] = uuidOf(e.id), e.token, int16(e.result.Status)
		keeps[i], results[i] = keepOf(e.result.TTL), e.envelope
		attempts[i], failures[i] = int32(e.result.Attempts), failure
	}
	return stmt{
		sql:  b.sql.of(finishTasks),
		args: []any{ids, tokens, statuses, keeps, results, attempts, failures, locked},
		row: func(row scanner) error {
			var h hold
			err := row.Scan((*[16]byte)(&h.id), &h.token)
			done(h)
			return err
		},
	}, nil
}

// keepOf is for how many microseconds a result is kept, NULL for ever.
func keepOf(ttl *time.Duration) pgtype.Int8 {
	if ttl == nil {
		return pgtype.Int8{}
	}
	return pgtype.Int8{Int64: max(0, microseconds(*ttl)), Valid: true}
}

// encodeError is JSON, or NULL for none.
func encodeError(e *omniq.TaskError) (pgtype.Text, error) {
	if e == nil {
		return pgtype.Text{}, nil
	}
	buf, err := json.Marshal(e)
	return textOf(string(buf)), err
}

func encodeResult(r *omniq.RawResult) (string, error) {
	buf, err := r.AppendJSON(make([]byte, 0, 256+len(r.ResultData)))
	if err != nil {
		return "", fmt.Errorf("%w: postgres: the result of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	return string(buf), nil
}

// A task that is given back is due as it was, now, or when it is said.
const giveBack = `WITH
	given AS (
		UPDATE {s}.tasks t SET token = NULL, since = {now}, attempt = t.attempt - CASE WHEN i.retry THEN 0 ELSE 1 END,
			error = CASE WHEN i.retry THEN i.error ELSE t.error END,
			(due, state, wake) = (
				SELECT d.due, CASE WHEN d.due <= {now} AND (t.deadline IS NULL OR t.deadline > {now}) THEN 1 ELSE 0 END,
					CASE WHEN d.due <= {now} THEN t.deadline ELSE least(d.due, t.deadline) END
				FROM (SELECT coalesce(i.at, CASE WHEN i.retry THEN {now} ELSE t.due END) AS due) d)
		FROM unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::timestamptz[], $5::text[]) AS i (id, token, retry, at, error)
		WHERE t.id = i.id AND t.token = i.token AND coalesce(t.wake > {now}, false)
		RETURNING t.id, i.token, t.queue, t.rank, t.due, t.state, t.wake, t.attempt, t.worker, i.retry, i.error),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, 2, -count(*) FROM given GROUP BY queue
		UNION ALL SELECT queue, state, count(*) FROM given GROUP BY queue, state)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, task_id, type, attempt, queue, worker, error)
		SELECT {until}, {now}, id, 5, attempt, queue, worker, error FROM given WHERE retry):events}
	SELECT id, token, queue, rank, due, state, wake FROM given`

// back is a lease that is given back.
type back struct {
	hold
	retry   bool
	at      time.Time
	failure pgtype.Text
}

// settling is one call of Settle.
type settling struct {
	b       *Backend
	endings []ending
	backs   []back

	replaces bool // results that are there already, see replaceResults

	done  map[hold]bool
	ready map[string]bool // queues that have got tasks back that are ready
	next  time.Time       // when something happens to a task by itself that was given back
}

// Settle implements [omniq.TaskQueue].
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	s := settling{b: b}
	for i := range settlements {
		if err := s.add(&settlements[i]); err != nil {
			return nil, err
		}
	}
	tasks := make([]uuid.UUID, len(settlements))
	for i := range settlements {
		tasks[i] = settlements[i].TaskID
	}
	locked, err := b.unlessLocked(ctx, tasks, s.statements)
	if crossed(err) {
		s.replaces = true
		locked, err = b.unlessLocked(ctx, tasks, s.statements)
	}
	if err != nil {
		return nil, err
	}
	s.announce()
	var errs []error
	for i := range settlements {
		h, ok := holdOf(settlements[i].LeaseID)
		if ok && locked[h.id] {
			errs = engine.Report(errs, len(settlements), i, lockedError(h.id))
		} else if !ok || !s.done[h] {
			errs = engine.Report(errs, len(settlements), i, omniq.ErrLeaseLost)
		}
		delete(s.done, h) // a second settlement of it is late
	}
	return errs, nil
}

// add checks and encodes a settlement. Only the first one of a lease counts.
func (s *settling) add(from *omniq.Settlement) error {
	h, ok := holdOf(from.LeaseID)
	switch from.Action {
	case omniq.ActionFinish:
		if from.Result == nil || from.Result.TaskID != from.TaskID || !from.Result.Status.Final() {
			return invalid("task %v finishes with result %+v, want its own with a final status", from.TaskID, from.Result)
		}
		envelope, err := encodeResult(from.Result)
		if err != nil {
			return err
		}
		if ok && s.first(h) {
			s.endings = append(s.endings, ending{h, from.Result, envelope})
		}
		return nil
	case omniq.ActionRetry, omniq.ActionRelease:
		t := back{hold: h, retry: from.Action == omniq.ActionRetry}
		if !from.At.IsZero() {
			t.at = micros(from.At)
		}
		if t.retry {
			var err error
			if t.failure, err = encodeError(from.Error); err != nil {
				return fmt.Errorf("%w: postgres: the error of task %v: %w", omniq.ErrInvalid, from.TaskID, err)
			}
		}
		if ok && s.first(h) {
			s.backs = append(s.backs, t)
		}
		return nil
	}
	return invalid("settlement of task %v with action %d, want one that exists", from.TaskID, from.Action)
}

func (s *settling) first(h hold) bool {
	if s.done == nil {
		s.done = make(map[hold]bool)
	}
	_, seen := s.done[h]
	s.done[h] = false
	return !seen
}

// statements are those that settle, but for tasks that are locked by others.
func (s *settling) statements(locked map[uuid.UUID]bool) (stmts []stmt) {
	for h := range s.done {
		s.done[h] = false
	}
	s.ready, s.next = make(map[string]bool), time.Time{}
	endings := slices.DeleteFunc(slices.Clone(s.endings), func(e ending) bool { return locked[e.id] })
	backs := slices.DeleteFunc(slices.Clone(s.backs), func(t back) bool { return locked[t.id] })
	if len(endings) > 0 {
		finish, err := s.b.finish(endings, false, func(h hold) { s.done[h] = true })
		if err != nil {
			panic(err) // add has encoded the result with this error in it
		}
		if s.replaces {
			stmts = append(stmts, stmt{sql: s.b.sql.of(replaceResults), args: finish.args[:1]})
		}
		stmts = append(stmts, finish)
	}
	if len(backs) > 0 {
		stmts = append(stmts, s.giveBack(backs))
	}
	return stmts
}

func (s *settling) giveBack(backs []back) stmt {
	slices.SortFunc(backs, func(x, y back) int { return x.compare(y.hold) })
	n := len(backs)
	ids, tokens, retries := make(list[pgtype.UUID], n), make(list[int64], n), make(list[bool], n)
	ats, failures := make(list[pgtype.Timestamptz], n), make(list[pgtype.Text], n)
	for i := range backs {
		t := &backs[i]
		ids[i], tokens[i], retries[i], ats[i], failures[i] = uuidOf(t.id), t.token, t.retry, timeOf(t.at), t.failure
	}
	return stmt{sql: s.b.sql.of(giveBack), args: []any{ids, tokens, retries, ats, failures}, row: func(row scanner) error {
		var h hold
		var queue string
		var rank int64
		var due time.Time
		var state int16
		var wake *time.Time
		if err := row.Scan((*[16]byte)(&h.id), &h.token, &queue, &rank, &due, &state, &wake); err != nil {
			return err
		}
		s.done[h] = true
		if state == stateReady {
			s.b.floors.ready(queue, rank, due)
			s.ready[queue] = true
		}
		if wake != nil && (s.next.IsZero() || wake.Before(s.next)) {
			s.next = *wake
		}
		return nil
	}}
}

// announce tells those who wait for tasks and for results.
func (s *settling) announce() {
	var final []ending
	for _, e := range s.endings {
		if s.done[e.hold] {
			final = append(final, e)
		}
	}
	s.b.ended(final)
	var topics []topic
	for q := range s.ready {
		topics = append(topics, queueTopic(q))
	}
	if s.b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	s.b.tell(topics...)
	if !s.next.IsZero() {
		s.b.maintainer.poke(time.Until(s.next))
	}
}

// ended tells those who wait for the results of tasks.
func (b *Backend) ended(list []ending) {
	if len(list) == 0 {
		return
	}
	topics := make([]topic, len(list), len(list)+1)
	for i := range list {
		topics[i] = resultTopic(list[i].id)
		b.awaited.End(list[i].id, list[i].result, nil)
	}
	if b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	b.tell(topics...)
}

// endingOf is the end that a backend makes of a task.
func endingOf(h hold, envelope string, status omniq.Status, now time.Time, attempts int) (ending, error) {
	raw := new(omniq.RawTask)
	if err := raw.UnmarshalJSON([]byte(envelope)); err != nil { // it must not be in the way of all others
		raw = &omniq.RawTask{ID: h.id, TTL: new(time.Duration)}
	}
	raw.ID = h.id // whoever wrote the row by hand
	result := omniq.CancelledResult(raw, now, attempts)
	if status == omniq.StatusExpired {
		result = omniq.ExpiredResult(raw, now, attempts)
	}
	text, err := encodeResult(result)
	return ending{h, result, text}, err
}
