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
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/engine"
)

// ending is how a task becomes final.
type ending struct {
	hold
	result   *omniq.RawResult
	envelope string // of the result
	took     time.Duration
	keeps    bool // the task, although it has succeeded
}

// tells reports whether those that wait for the task are told in the transaction that ends it.
func (e *ending) tells() bool { return e.followed() && e.result.Status == omniq.StatusSuccess }

// A token counts for leases only: who has locked the rows already knows them. Tasks are locked in the order of their IDs,
// which is that of the input, then the keys that they release in that of name and key. Work is added for those that others
// wait for, but with $9 for those whose followers releaseFollowers is to tell.
const finishTasks = `WITH
	gone AS (
		DELETE FROM {s}.tasks t
		USING unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::integer[], $7::text[], $10::bigint[], $11::boolean[])
			AS i (id, token, status, keep, result, attempts, error, took, keeps)
		WHERE t.id = ANY (ARRAY[i.id]) AND ($8 OR t.token = i.token AND coalesce(t.wake > {now}, false))
		RETURNING t.id, t.name, t.queue, t.state, t.due, t.worker, t.unique_key, t.lost,
			CASE WHEN i.status > 3 OR i.keeps THEN t.task END AS task, i.token, i.status, i.result, i.attempts, i.error, i.took,
			{now} + i.keep * interval '1 microsecond' AS until,
			t.lane, t.bound, t.flow, t.tie, t.resumed, t.followed, t.followed IS NOT NULL AND NOT ($9 AND i.token & 1 = 1 AND i.status = 3) AS untold, t.progress, CASE WHEN i.status > 3 THEN t.saved END AS saved),
	kept AS (
		INSERT INTO {s}.results (id, since, expires, lapses, due, status, name, queue, worker, lost, result, task,
			flow, tie, resumed, followed, progress, saved, lane)
		SELECT id, {now}, CASE WHEN followed > 1 THEN NULL ELSE until END, CASE WHEN followed > 1 THEN until END,
			due, status, name, queue, worker, lost, result, task, flow, tie, resumed, followed, progress, saved, CASE WHEN task IS NOT NULL THEN lane END FROM gone),
	told AS (
		INSERT INTO {s}.work (kind, ended, how, tie)
		SELECT 0, array_agg(id), array_agg(status), 0 FROM gone WHERE untold HAVING count(*) > 0),
	released AS (
		DELETE FROM {s}.unique_keys u
		USING (SELECT id, name, unique_key FROM gone WHERE unique_key IS NOT NULL ORDER BY name, unique_key OFFSET 0) g
		WHERE u.name = ANY (ARRAY[g.name]) AND u.key = ANY (ARRAY[g.unique_key]) AND u.id = ANY (ARRAY[g.id]) AND u.until IS NULL),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, state, status, count(*) AS n FROM gone GROUP BY queue, state, status) g
		CROSS JOIN LATERAL (VALUES (g.state, -g.n), (g.status, g.n)) c (state, n)),
	tallied AS (
		INSERT INTO {s}.tallies (at, what, n, us, queue, name)
		SELECT {now}, CASE status WHEN 5 THEN 6 WHEN 6 THEN 7 ELSE status END, count(*), least(sum(took), 9e18)::bigint, queue, name
		FROM gone GROUP BY status, queue, name)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker, error)
		SELECT {until}, {now}, name, id, CASE status WHEN 5 THEN 6 WHEN 6 THEN 7 ELSE status END, attempts, queue, worker, error
		FROM gone):events}
	SELECT id, token, untold, CASE WHEN bound IS NULL THEN '' ELSE queue END FROM gone`

// A task has no result while it is not final, unless calls with its ID crossed each other. Then this has to go before.
const replaceResults = dropFirst + "AND (SELECT true FROM {s}.tasks t WHERE t.id = r.id)" + dropThen

// crossed reports whether there was a result already.
func crossed(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505" && e.ConstraintName == "results_pkey"
}

// finish makes tasks final. With locked it does so whatever their leases are: the caller has locked their rows. With tells the
// caller tells the followers of those for which ending.tells. Freed is told of queues whose limits may permit more. Done is told of each that is final, and whether it adds work.
func (b *Backend) finish(endings []ending, locked, tells bool, freed func(queue string), done func(h hold, follows bool)) (stmt, error) {
	endings = slices.Clone(endings)
	slices.SortFunc(endings, func(x, y ending) int { return x.compare(y.hold) })
	n := len(endings)
	ids, tokens, statuses := make(list[pgtype.UUID], n), make(list[int64], n), make(list[int16], n)
	keeps, results := make(list[pgtype.Int8], n), make(list[string], n)
	attempts, failures, tooks, kept := make(list[int32], n), make(list[pgtype.Text], n), make(list[int64], n), make(list[bool], n)
	for i := range endings {
		e := &endings[i]
		failure, err := encodeError(e.result.Error)
		if err != nil {
			return stmt{}, err
		}
		ids[i], tokens[i], statuses[i] = uuidOf(e.id), e.token, int16(e.result.Status)
		keeps[i], results[i] = keepOf(e.result.TTL), e.envelope
		attempts[i], failures[i], tooks[i], kept[i] = int32(e.result.Attempts), failure, microseconds(e.took), e.keeps
	}
	return stmt{
		sql:  b.sql.of(finishTasks),
		args: []any{ids, tokens, statuses, keeps, results, attempts, failures, locked, tells, tooks, kept},
		row: func(row scanner) error {
			var h hold
			var follows bool
			var bound string
			err := row.Scan((*[16]byte)(&h.id), &h.token, &follows, &bound)
			if err == nil && bound != "" {
				freed(bound)
			}
			done(h, follows)
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

// decodeError reads what encodeError has written. What is none, in a row that was written by hand, is an error that says so.
func decodeError(text string) *omniq.TaskError {
	e := new(omniq.TaskError)
	if err := json.Unmarshal([]byte(text), e); err != nil {
		return &omniq.TaskError{Type: "omniq.Decode", Message: "the error cannot be read: " + err.Error()}
	}
	return e
}

func encodeResult(r *omniq.RawResult) (string, error) {
	buf, err := r.AppendJSON(make([]byte, 0, 256+len(r.ResultData)))
	if err != nil {
		return "", fmt.Errorf("%w: postgres: the result of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	return string(buf), nil
}

// A task that is given back is due as it was, or after its delay.
const giveBack = `WITH
	given AS (
		UPDATE {s}.tasks t SET token = NULL, started = false, since = {now},
			attempt = t.attempt + CASE WHEN i.retry THEN (NOT t.started)::integer ELSE -t.started::integer END,
			error = CASE WHEN i.retry THEN i.error ELSE t.error END,
			shunned = CASE WHEN i.shun THEN coalesce(t.shunned, {now}) END,
			(due, state, wake) = (
				SELECT d.due, CASE WHEN d.due <= {now} AND NOT coalesce(t.deadline <= {now}, false) THEN 1 ELSE 0 END,
					CASE WHEN d.due > {now} THEN d.due END
				FROM (SELECT coalesce({now} + i.delay * interval '1 microsecond', t.due) AS due) d)
		FROM unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::boolean[], $5::bigint[], $6::text[], $7::bigint[])
			AS i (id, token, retry, shun, delay, error, took)
		WHERE ` + holding + `
		RETURNING t.id, i.token, t.name, t.queue, t.rank, t.due, t.state, t.wake, t.deadline, t.attempt, t.worker, i.retry, i.error, i.took, t.bound),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, 2, -count(*) FROM given GROUP BY queue
		UNION ALL SELECT queue, state, count(*) FROM given GROUP BY queue, state),
	tallied AS (
		INSERT INTO {s}.tallies (at, what, n, us, queue, name)
		SELECT {now}, 5, count(*), least(sum(took), 9e18)::bigint, queue, name FROM given WHERE retry GROUP BY queue, name)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker, error)
		SELECT {until}, {now}, name, id, 5, attempt, queue, worker, error FROM given WHERE retry):events}
	SELECT id, token, queue, rank, greatest(due, '0001-01-01Z'::timestamptz), state, {soon}, bound IS NOT NULL FROM given`

// back is a lease that is given back.
type back struct {
	hold
	retry   bool
	shun    bool
	delay   pgtype.Int8 // microseconds; NULL: it is due as it was
	failure pgtype.Text
	took    time.Duration
}

// settling is one call of Settle.
type settling struct {
	b        *Backend
	endings  []ending
	backs    []back
	effects  []effected
	replaces bool // results that are there already, see replaceResults
	callers  bool // it is done in a transaction of the caller's, with plans of the caller's

	done    map[hold]bool
	locked  map[hold]bool
	refused map[hold]error         // what cannot be stored, or cannot be
	failed  map[hold]error         // what was not done while others were
	ready   map[string]bool        // queues that have got tasks back that are ready
	follows bool                   // there are tasks to be told
	holds   map[hold]time.Duration // how long lanes are held back
	next    coming
	free    released // tasks that have waited
}

// Settle ends leases with what became of their attempts: see [omniq.TaskQueue]. It waits for those who have locked a task's
// row or its unique key for a second at the most: that task is not settled then, and has an error of its own.
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	s, err := b.newSettling(settlements)
	if err != nil {
		return nil, err
	}
	if len(s.endings)+len(s.backs) > 0 || len(s.effects) == 0 {
		err = s.write(ctx)
		if refusal(err) {
			if err = s.refuse(ctx); err == nil {
				err = s.write(ctx)
			}
		}
		if err != nil {
			return nil, err
		}
		s.announce()
	}
	if err := s.runEffects(ctx); err != nil {
		return nil, err
	}
	if s.follows {
		b.follow(vital(ctx))
	}
	return s.report(settlements), nil
}

func (b *Backend) newSettling(settlements []omniq.Settlement) (*settling, error) {
	for i := range settlements {
		if err := engine.CheckSettlement(&settlements[i]); err != nil {
			return nil, err
		}
	}
	s := &settling{
		b: b, done: make(map[hold]bool), locked: make(map[hold]bool), refused: make(map[hold]error), failed: make(map[hold]error),
	}
	for i := range settlements {
		s.add(&settlements[i])
	}
	return s, nil
}

// report returns the errors of the settlements.
func (s *settling) report(settlements []omniq.Settlement) (errs []error) {
	for i := range settlements {
		h, ok := holdOf(settlements[i].LeaseID)
		switch done, first := s.done[h]; {
		case !ok || !first: // a second settlement of it is late
			errs = engine.Report(errs, len(settlements), i, omniq.ErrLeaseLost)
		case s.refused[h] != nil:
			err := fmt.Errorf("%w: postgres: the outcome of task %v: %w", omniq.ErrInvalid, h.id, s.refused[h])
			errs = engine.Report(errs, len(settlements), i, err)
		case s.failed[h] != nil:
			errs = engine.Report(errs, len(settlements), i, s.failed[h])
		case s.locked[h]:
			errs = engine.Report(errs, len(settlements), i, lockedError(h))
		case !done:
			errs = engine.Report(errs, len(settlements), i, omniq.ErrLeaseLost)
		}
		delete(s.done, h)
	}
	return errs
}

// textOfSettlement is what is stored of it beside numbers: the envelope of a result, or a failure.
func textOfSettlement(s *omniq.Settlement) (string, error) {
	if s.Action == omniq.ActionFinish {
		return encodeResult(s.Result)
	}
	if s.Action != omniq.ActionRetry {
		return "", nil
	}
	failure, err := encodeError(s.Error)
	if n := len(failure.String); n > codec.MaxSize {
		return "", fmt.Errorf("the error has %d bytes, want at most %d", n, codec.MaxSize)
	}
	return failure.String, err
}

// add adds a settlement. Only the first one of a lease counts.
func (s *settling) add(from *omniq.Settlement) {
	h, ok := holdOf(from.LeaseID)
	if _, seen := s.done[h]; !ok || seen {
		return
	}
	s.done[h] = false
	if from.Hold > 0 {
		if s.holds == nil {
			s.holds = make(map[hold]time.Duration)
		}
		s.holds[h] = from.Hold
	}
	var text string
	err := engine.CheckOutcome(from)
	if err == nil {
		text, err = textOfSettlement(from)
	}
	if err != nil {
		s.refused[h] = err
		return
	}
	e := effected{hold: h, from: from}
	defer func() {
		if from.Effects != nil {
			s.effects = append(s.effects, e)
		}
	}()
	switch {
	case from.Action == omniq.ActionWait:
		return
	case from.Action == omniq.ActionFinish && from.Effects != nil:
		e.end = &ending{h, from.Result, text, from.Took, from.KeepTask}
		return
	case from.Action == omniq.ActionFinish:
		s.endings = append(s.endings, ending{h, from.Result, text, from.Took, from.KeepTask})
		return
	}
	t := back{hold: h, retry: from.Action == omniq.ActionRetry, shun: from.Action == omniq.ActionDefer, failure: textOf(text), took: from.Took}
	if from.Delay > 0 || from.Action != omniq.ActionRelease {
		t.delay = pgtype.Int8{Int64: microseconds(from.Delay), Valid: true}
	}
	if from.Effects != nil {
		e.back = &t
		return
	}
	s.backs = append(s.backs, t)
}

// refuse leaves out what the database cannot store.
func (s *settling) refuse(ctx context.Context) error {
	held, texts := make([]hold, 0, len(s.done)), make([]string, 0, len(s.done))
	for i := range s.endings {
		held, texts = append(held, s.endings[i].hold), append(texts, s.endings[i].envelope)
	}
	for i := range s.backs {
		held, texts = append(held, s.backs[i].hold), append(texts, s.backs[i].failure.String)
	}
	refused, err := s.b.refused(ctx, texts)
	for i, err := range refused {
		s.refused[held[i]] = err
	}
	s.endings = slices.DeleteFunc(s.endings, func(e ending) bool { return s.refused[e.hold] != nil })
	s.backs = slices.DeleteFunc(s.backs, func(t back) bool { return s.refused[t.hold] != nil })
	return err
}

// write settles all in one transaction.
func (s *settling) write(ctx context.Context) error {
	held := s.held()
	locked, err := s.b.writeHeld(ctx, held, s.statements)
	if crossed(err) {
		s.replaces = true
		locked, err = s.b.writeHeld(ctx, held, s.statements)
	}
	for _, h := range locked {
		s.locked[h] = true
	}
	return err
}

// held are the leases, in the order of the IDs.
func (s *settling) held() []hold {
	held := make([]hold, 0, len(s.endings)+len(s.backs))
	for i := range s.endings {
		held = append(held, s.endings[i].hold)
	}
	for i := range s.backs {
		held = append(held, s.backs[i].hold)
	}
	slices.SortFunc(held, hold.compare)
	return held
}

// maxSize is how many bytes of results a statement has at the most, or one of them.
const maxSize = 64 << 20

// lockHeld is for a call that does several statements, or whose plans may take the rows of one in any order: all lock in the
// order of the IDs.
const lockHeld = "SELECT FROM {s}.tasks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"

// statements are those for some of the leases.
func (s *settling) statements(held []hold) (stmts []stmt) {
	wanted := make(map[hold]bool, len(held))
	for _, h := range held {
		wanted[h] = true
	}
	for h := range s.done {
		s.done[h] = false
	}
	s.ready, s.next, s.follows, s.free = make(map[string]bool), coming{}, false, released{b: s.b}
	endings := slices.DeleteFunc(slices.Clone(s.endings), func(e ending) bool { return !wanted[e.hold] })
	backs := slices.DeleteFunc(slices.Clone(s.backs), func(t back) bool { return !wanted[t.hold] })
	slices.SortFunc(endings, func(x, y ending) int { return x.compare(y.hold) })
	release := s.release(endings)
	for len(endings) > 0 {
		size, n := 0, 0
		for n < len(endings) && (n == 0 || size+len(endings[n].envelope) <= maxSize) {
			size += len(endings[n].envelope)
			n++
		}
		stmts = append(stmts, s.finish(endings[:n])...)
		endings = endings[n:]
	}
	if len(backs) > 0 {
		stmts = append(stmts, s.giveBack(backs))
	}
	if hold, some := s.b.holds(s.holdsOf(held)); some {
		stmts = append([]stmt{hold}, stmts...)
	}
	if len(stmts) > 1 || s.callers && len(held) > 1 {
		ids, _ := holdsOf(held)
		stmts = append([]stmt{{sql: s.b.sql.of(lockHeld), args: []any{ids}}}, stmts...)
	}
	return append(stmts, release...)
}

func (s *settling) finish(endings []ending) []stmt {
	finish, err := s.b.finish(endings, false, !s.callers, s.freed, func(h hold, follows bool) { s.done[h], s.follows = true, s.follows || follows })
	if err != nil {
		panic(err) // the result has been encoded with this error in it
	}
	if s.replaces {
		return []stmt{{sql: s.b.sql.of(replaceResults), args: finish.args[:1]}, finish}
	}
	return []stmt{finish}
}

func (s *settling) giveBack(backs []back) stmt {
	slices.SortFunc(backs, func(x, y back) int { return x.compare(y.hold) })
	n := len(backs)
	ids, tokens, retries, shuns := make(list[pgtype.UUID], n), make(list[int64], n), make(list[bool], n), make(list[bool], n)
	delays, failures, tooks := make(list[pgtype.Int8], n), make(list[pgtype.Text], n), make(list[int64], n)
	for i := range backs {
		t := &backs[i]
		ids[i], tokens[i], retries[i], shuns[i], delays[i], failures[i] = uuidOf(t.id), t.token, t.retry, t.shun, t.delay, t.failure
		tooks[i] = microseconds(t.took)
	}
	args := []any{ids, tokens, retries, shuns, delays, failures, tooks}
	return stmt{sql: s.b.sql.of(giveBack), args: args, row: func(row scanner) error {
		var h hold
		var queue string
		var rank int64
		var due time.Time
		var state int16
		var soon *int64
		var bound bool
		if err := row.Scan((*[16]byte)(&h.id), &h.token, &queue, &rank, &due, &state, &soon, &bound); err != nil {
			return err
		}
		s.done[h] = true
		if state == stateReady {
			s.b.floors.ready(queue, rank, due)
			s.ready[queue] = true
		}
		if bound {
			s.freed(queue)
		}
		s.next.add(soon)
		return nil
	}}
}

// freed is told of a queue whose limit may permit more.
func (s *settling) freed(queue string) { s.ready[queue] = true }

// holdsOf is how long the lanes of some of the leases are held back.
func (s *settling) holdsOf(held []hold) map[hold]time.Duration {
	some := make(map[hold]time.Duration)
	for _, h := range held {
		if d := s.holds[h]; d > 0 && s.refused[h] == nil {
			some[h] = d
		}
	}
	return some
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
	s.next.poke(s.b.maintainer)
	s.free.announce()
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
	raw := taskOf(h.id, envelope)
	if raw.TTL == nil && status == omniq.StatusExpired {
		raw.TTL = new(time.Duration)
	}
	result := omniq.CancelledResult(raw, now, attempts)
	if status == omniq.StatusExpired {
		result = omniq.ExpiredResult(raw, now, attempts)
	}
	text, err := encodeResult(result)
	return ending{hold: h, result: result, envelope: text}, err
}

// taskOf is the task of an envelope. One that cannot be read must not be in the way of all others.
func taskOf(id uuid.UUID, envelope string) *omniq.RawTask {
	raw := new(omniq.RawTask)
	if err := raw.UnmarshalJSON([]byte(envelope)); err != nil {
		raw = &omniq.RawTask{TTL: new(time.Duration)}
	}
	raw.ID = id // whoever wrote the row by hand
	return raw
}
