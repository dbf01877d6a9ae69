package postgres

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

const (
	advanceBatch = 500
	sweepBatch   = 1000
	manyCounts   = 200 // rows of counts that are worth gathering

	// grace is how long a result is there that is not to be kept, for those who wait for it in other processes.
	grace = 5 * time.Second

	sweepEvery = time.Second
	minPause   = 5 * time.Millisecond // between two passes
)

// A task that is due becomes ready, and one whose lease ran out is ready again; those that expire are expireTasks'.
const advanceTasks = `WITH
	woken AS MATERIALIZED (
		SELECT ctid AS at, state FROM {s}.tasks
		WHERE wake > $1 AND wake <= {now} AND (deadline IS NULL OR deadline > {now})
		ORDER BY wake LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
	moved AS (
		UPDATE {s}.tasks t SET token = NULL, state = CASE WHEN t.due <= {now} THEN 1 ELSE 0 END,
			since = CASE WHEN t.state = 2 THEN {now} ELSE t.since END,
			wake = CASE WHEN t.due <= {now} THEN t.deadline ELSE least(t.due, t.deadline) END
		FROM woken w WHERE t.ctid = w.at RETURNING t.queue, t.rank, t.due, w.state AS before, t.state AS after),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, before, -count(*) FROM moved GROUP BY queue, before
		UNION ALL SELECT queue, after, count(*) FROM moved GROUP BY queue, after)
	SELECT queue, after, min(rank), min(due) FROM moved GROUP BY queue, after`

// advance does what was to happen to tasks by themselves since a time. It adds the queues that have got tasks.
func (b *Backend) advance(since pgtype.Timestamptz, queues *[]string) stmt {
	return stmt{sql: b.sql.of(advanceTasks), args: []any{since, advanceBatch}, row: func(row scanner) error {
		var queue string
		var state int16
		var rank int64
		var due time.Time
		err := row.Scan(&queue, &state, &rank, &due)
		if state == stateReady {
			b.floors.ready(queue, rank, due)
			*queues = append(*queues, queue)
		}
		return err
	}}
}

// moved tells those who wait for tasks of the queues.
func (b *Backend) moved(queues []string) {
	topics := make([]topic, len(queues))
	for i, q := range queues {
		topics[i] = queueTopic(q)
	}
	if len(topics) > 0 {
		b.tell(topics...)
	}
}

// always is before everything.
var always = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}

const (
	expireTasks = `SELECT id, coalesce(token, 0), attempt, task, {now} FROM {s}.tasks
		WHERE wake <= {now} AND deadline <= {now} ORDER BY wake LIMIT $1 FOR UPDATE SKIP LOCKED`

	expireTask = `SELECT id, coalesce(token, 0), attempt, task, {now} FROM {s}.tasks
		WHERE wake <= {now} AND deadline <= {now} AND id = $1 FOR UPDATE`
)

// expire ends tasks whose TTL is over, and reports how many: some of those that nobody else is about to, or the one with
// the ID.
func (b *Backend) expire(ctx context.Context, id uuid.UUID) (n int, err error) {
	list := stmt{sql: b.sql.of(expireTasks), args: []any{advanceBatch}}
	if id != uuid.Nil {
		list = stmt{sql: b.sql.of(expireTask), args: []any{uuidOf(id)}}
	}
	var endings []ending
	err = b.transact(ctx, func(q querier) error {
		endings = nil
		list.row = func(row scanner) error {
			var h hold
			var attempts int
			var envelope string
			var now time.Time
			if err := row.Scan((*[16]byte)(&h.id), &h.token, &attempts, &envelope, &now); err != nil {
				return err
			}
			e, err := endingOf(h, envelope, omniq.StatusExpired, now, attempts)
			endings = append(endings, e)
			return err
		}
		if err := q.run(ctx, list); err != nil || len(endings) == 0 {
			return err
		}
		finish, err := b.finish(endings, true, func(hold) {})
		if err != nil {
			return err
		}
		return q.run(ctx, stmt{sql: b.sql.of(replaceResults), args: finish.args[:1]}, finish)
	})
	if err != nil {
		return 0, err
	}
	b.ended(endings)
	return len(endings), nil
}

const wakeOne = `WITH moved AS (
		UPDATE {s}.tasks t SET token = NULL, state = CASE WHEN t.due <= {now} THEN 1 ELSE 0 END,
			since = CASE WHEN t.state = 2 THEN {now} ELSE t.since END,
			wake = CASE WHEN t.due <= {now} THEN t.deadline ELSE least(t.due, t.deadline) END
		FROM (SELECT id, state FROM {s}.tasks WHERE id = $1 FOR NO KEY UPDATE) w
		WHERE t.id = w.id AND t.wake <= {now} AND (t.deadline IS NULL OR t.deadline > {now})
		RETURNING t.queue, t.rank, t.due, w.state AS before, t.state AS after),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, before, -1 FROM moved UNION ALL SELECT queue, after, 1 FROM moved)
	SELECT queue, after, rank, due FROM moved`

// wake does what was to happen to one task by itself, and waits for those who are doing it.
func (b *Backend) wake(ctx context.Context, id uuid.UUID) error {
	if _, err := b.expire(ctx, id); err != nil {
		return err
	}
	var queues []string
	err := b.write(ctx, func() []stmt {
		queues = nil
		s := b.advance(always, &queues)
		s.sql, s.args = b.sql.of(wakeOne), []any{uuidOf(id)}
		return []stmt{s}
	})
	b.moved(queues)
	return err
}

// wakeAll does what was to happen to tasks by itself until now, as far as nobody else is doing it.
func (b *Backend) wakeAll(ctx context.Context) error {
	for {
		bound, cancel := bounded(ctx)
		n, err := b.expire(bound, uuid.Nil)
		cancel()
		if err != nil {
			return err
		}
		if n < advanceBatch {
			break
		}
	}
	for {
		var queues []string
		n := 0
		bound, cancel := bounded(ctx)
		err := b.write(bound, func() []stmt {
			queues, n = nil, 0
			s := b.advance(always, &queues)
			each := s.row
			s.row = func(row scanner) error { n++; return each(row) }
			return []stmt{s}
		})
		cancel()
		if err != nil {
			return err
		}
		b.moved(queues)
		if n == 0 {
			return nil
		}
	}
}

// maintainer does what happens to tasks by itself at its time, and removes what is over.
type maintainer struct {
	b     *Backend
	poked chan struct{}

	mu    sync.Mutex
	next  time.Time          // when it works again unless it is poked
	since pgtype.Timestamptz // a time until which all was done, by the database's clock
}

func newMaintainer(b *Backend) *maintainer {
	return &maintainer{b: b, poked: make(chan struct{}, 1), since: always}
}

// poke lets it work in d at the latest.
func (m *maintainer) poke(d time.Duration) {
	m.mu.Lock()
	sooner := time.Now().Add(d).Before(m.next)
	m.mu.Unlock()
	if sooner {
		select {
		case m.poked <- struct{}{}:
		default:
		}
	}
}

// horizon is a time before which there is nothing left to do, so that a lease need not look there. What happens to a
// task by itself is never earlier than the transaction that decided on it; margin is for how long that usually takes, and
// what took longer is found by the next pass.
func (m *maintainer) horizon() pgtype.Timestamptz {
	const margin = time.Second
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since.InfinityModifier != pgtype.Finite {
		return m.since
	}
	return timeOf(m.since.Time.Add(-margin))
}

// run works until the backend is closed.
func (m *maintainer) run() {
	swept := time.Now()
	failed := false
	for {
		next, err := m.pass()
		if err == nil && time.Since(swept) > sweepEvery {
			swept = time.Now()
			err = m.b.sweep(m.b.ctx)
		}
		if m.b.ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			m.b.config.logger.Warn("postgres: due and expired tasks wait until the database answers", "error", err)
		}
		if failed = err != nil; failed {
			next = m.b.config.poll
		}
		pause := min(max(next, minPause), m.b.config.poll, sweepEvery)
		m.mu.Lock()
		m.next = time.Now().Add(pause)
		m.mu.Unlock()
		select {
		case <-time.After(pause):
			continue
		case <-m.poked:
		case <-m.b.ctx.Done():
			return
		}
		select { // whoever pokes often is not answered as often
		case <-time.After(minPause):
		case <-m.b.ctx.Done():
			return
		}
	}
}

const nextWake = `SELECT {now}, EXISTS (SELECT FROM {s}.tasks WHERE wake <= {now}),
	(extract(epoch FROM (SELECT min(wake) FROM {s}.tasks WHERE wake > {now}) - {now}) * 1000000)::bigint`

// pass does what is to be done now, and returns how long there is nothing more.
func (m *maintainer) pass() (time.Duration, error) {
	var now time.Time
	var due bool
	var next *int64
	bound, cancel := bounded(m.b.ctx)
	defer cancel()
	err := m.b.read(bound, stmt{sql: m.b.sql.of(nextWake), row: func(row scanner) error {
		return row.Scan(&now, &due, &next)
	}})
	if err == nil && due {
		err = m.b.wakeAll(m.b.ctx)
	}
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	m.since = timeOf(now)
	m.mu.Unlock()
	switch {
	case next != nil:
		return time.Duration(*next) * time.Microsecond, nil
	case due: // there may be something by now
		return 0, nil
	}
	return math.MaxInt64, nil
}

const (
	sweepResults = `WITH gone AS (
			DELETE FROM {s}.results WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.results WHERE expires <= {now} - $1 * interval '1 microsecond' ORDER BY expires LIMIT $2
				FOR UPDATE SKIP LOCKED))
			RETURNING queue, status),
		counted AS (INSERT INTO {s}.counts SELECT queue, status, -count(*) FROM gone GROUP BY queue, status)
		SELECT count(*)::integer FROM gone`

	sweepKeys = `DELETE FROM {s}.unique_keys WHERE ctid = ANY (ARRAY (
		SELECT ctid FROM {s}.unique_keys WHERE until <= {now} LIMIT $1 FOR UPDATE SKIP LOCKED))`

	sweepRevoked = `DELETE FROM {s}.revoked WHERE ctid = ANY (ARRAY (
		SELECT ctid FROM {s}.revoked WHERE until <= {now} LIMIT $1 FOR UPDATE SKIP LOCKED))`

	gatherCounts = `WITH gone AS (
			DELETE FROM {s}.counts WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.counts
				WHERE (SELECT count(*) >= $1 FROM (SELECT FROM {s}.counts LIMIT $1) c) LIMIT 20000 FOR UPDATE SKIP LOCKED))
			RETURNING queue, state, n)
		INSERT INTO {s}.counts SELECT queue, state, sum(n) FROM gone GROUP BY queue, state HAVING sum(n) <> 0`
)

// sweep removes what is over, some at a time, and as long as there is much.
func (b *Backend) sweep(ctx context.Context) error {
	for {
		n := 0
		bound, cancel := bounded(ctx)
		err := b.write(bound, func() []stmt {
			return []stmt{
				{
					sql: b.sql.of(sweepResults), args: []any{grace.Microseconds(), sweepBatch},
					row: func(row scanner) error { return row.Scan(&n) },
				},
				{sql: b.sql.of(sweepKeys), args: []any{sweepBatch}},
				{sql: b.sql.of(sweepRevoked), args: []any{sweepBatch}},
				{sql: b.sql.of(gatherCounts), args: []any{manyCounts}},
			}
		})
		cancel()
		if err != nil {
			return err
		}
		if b.config.retention > 0 {
			if err := b.sweepEvents(ctx); err != nil {
				return err
			}
		}
		if n < sweepBatch {
			return nil
		}
	}
}
