package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

// leaseAdvance is how many tasks a lease advances on its way at the most. The others are the maintainer's.
const leaseAdvance = 100

// What becomes of a task whose wake has come. One that is due becomes ready. One whose lease ran out is due again after a
// pause, see [engine.Pause]: up to a second at first, and after each further loss half of 2, 4, 8 … s and some of the other.
const advanced = `token = NULL, started = false, lost = least(t.lost, 2147483646) + t.started::integer,
			since = CASE WHEN t.state = 2 THEN {now} ELSE t.since END,
			(due, state, wake) = (
				SELECT d.due, CASE WHEN d.due <= {now} AND NOT coalesce(t.deadline <= {now}, false) THEN 1 ELSE 0 END,
					CASE WHEN d.due > {now} THEN d.due END
				FROM (SELECT CASE WHEN t.state <> 2 THEN t.due
					WHEN least(t.lost, 6) + t.started::integer < 2 THEN {now} + random() * interval '1 second'
					ELSE {now} + (1 + random()) / 2 * least(power(2, least(t.lost, 6) + t.started::integer - 1), 60) * interval '1 second'
				END AS due) d)`

// Rows that others have locked are skipped. Those that expire are expireTasks'.
const advanceTasks = `WITH
	woken AS MATERIALIZED (
		SELECT ctid AS at, state FROM {s}.tasks WHERE wake > $1 AND wake <= {now} ORDER BY wake LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
	moved AS (
		UPDATE {s}.tasks t SET ` + advanced + `
		FROM woken w WHERE t.ctid = w.at
		RETURNING t.queue, t.rank, t.due, w.state AS before, t.state AS after, {soon} AS soon, w.state = 2 AND t.bound IS NOT NULL AS freed),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, before, -count(*) FROM moved GROUP BY queue, before
		UNION ALL SELECT queue, after, count(*) FROM moved GROUP BY queue, after)
	SELECT queue, after, min(rank), greatest(min(due), '0001-01-01Z'::timestamptz), count(*), min(soon), coalesce(bool_or(freed), false) FROM moved GROUP BY queue, after`

const wakeOne = `WITH
	woken AS MATERIALIZED (SELECT id, state FROM {s}.tasks WHERE id = $1 FOR NO KEY UPDATE),
	moved AS (
		UPDATE {s}.tasks t SET ` + advanced + `
		FROM woken w WHERE t.id = ANY (ARRAY[w.id]) AND coalesce(t.wake <= {now}, false)
		RETURNING t.queue, t.rank, t.due, w.state AS before, t.state AS after, {soon} AS soon, w.state = 2 AND t.bound IS NOT NULL AS freed),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, before, -1 FROM moved UNION ALL SELECT queue, after, 1 FROM moved)
	SELECT queue, after, rank, greatest(due, '0001-01-01Z'::timestamptz), 1, soon, freed FROM moved`

// advancing is what a transaction advances.
type advancing struct {
	b      *Backend
	n      int      // tasks
	queues []string // that have got tasks that are ready
	next   coming
}

func (a *advancing) row(row scanner) error {
	var queue string
	var state int16
	var rank int64
	var due time.Time
	var n int
	var soon *int64
	var freed bool // a limit may permit more
	if err := row.Scan(&queue, &state, &rank, &due, &n, &soon, &freed); err != nil {
		return err
	}
	a.n += n
	a.next.add(soon)
	if state == stateReady {
		a.b.floors.ready(queue, rank, due)
	}
	if state == stateReady || freed {
		a.queues = append(a.queues, queue)
	}
	return nil
}

// advance does what was to happen to some tasks by themselves since a time.
func (a *advancing) advance(since pgtype.Timestamptz, limit int) stmt {
	*a = advancing{b: a.b}
	return stmt{sql: a.b.sql.of(advanceTasks), args: []any{since, limit}, row: a.row}
}

// announce tells those who wait for tasks.
func (a *advancing) announce() {
	topics := make([]topic, len(a.queues))
	for i, q := range a.queues {
		topics[i] = queueTopic(q)
	}
	if len(topics) > 0 {
		a.b.tell(topics...)
	}
	a.next.poke(a.b.maintainer)
}

// coming is when the next thing happens by itself: in so many microseconds, by the database's clock.
type coming struct {
	in   int64
	some bool
}

// add takes note of something that happens, unless it is NULL.
func (c *coming) add(in *int64) {
	if in != nil && (!c.some || *in < c.in) {
		*c = coming{*in, true}
	}
}

func (c *coming) poke(m *maintainer) {
	if c.some {
		m.poke(time.Duration(c.in) * time.Microsecond)
	}
}

// always is before everything.
var always = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}

const (
	// Rows that others have locked are skipped.
	expireTasks = `SELECT id, coalesce(token, 0), attempt, task, {now} FROM {s}.tasks
		WHERE state < 2 AND deadline <= {now} ORDER BY deadline LIMIT $1 FOR UPDATE SKIP LOCKED`

	expireTask = `SELECT id, coalesce(token, 0), attempt, task, {now} FROM {s}.tasks
		WHERE id = $1 AND (state < 2 OR coalesce(wake <= {now}, false)) AND coalesce(deadline <= {now}, false) FOR UPDATE`
)

// expire ends tasks whose TTL is over, and reports how many: some of those that nobody else is about to, or the one with
// the ID.
func (b *Backend) expire(ctx context.Context, id uuid.UUID, limit int) (n int, err error) {
	list := stmt{sql: b.sql.of(expireTasks), args: []any{limit}}
	if id != uuid.Nil {
		list = stmt{sql: b.sql.of(expireTask), args: []any{uuidOf(id)}}
	}
	var endings []ending
	var follows bool
	queues := make(map[string]bool)
	err = b.transact(ctx, func(q querier) error {
		endings, follows = nil, false
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
		finish, err := b.finish(endings, true, false, func(q string) { queues[q] = true }, func(_ hold, more bool) { follows = follows || more })
		if err != nil {
			return err
		}
		return q.run(ctx, stmt{sql: b.sql.of(replaceResults), args: finish.args[:1]}, finish)
	})
	if err != nil {
		return 0, err
	}
	b.ended(endings)
	b.tellQueues(queues)
	if follows {
		b.follow(vital(ctx))
	}
	return len(endings), nil
}

// wake does what was to happen to one task by itself, and waits for those who are doing it.
func (b *Backend) wake(ctx context.Context, id uuid.UUID) error {
	if _, err := b.expire(ctx, id, 1); err != nil {
		return err
	}
	a := advancing{b: b}
	err := b.write(ctx, func() []stmt {
		a = advancing{b: b}
		return []stmt{{sql: b.sql.of(wakeOne), args: []any{uuidOf(id)}, row: a.row}}
	})
	a.announce()
	return err
}

// wakeSome does what was to happen to some tasks by themselves until now, as far as nobody else is doing it, in two short
// transactions. It reports whether there may be more.
func (b *Backend) wakeSome(ctx context.Context) (more bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	a := advancing{b: b}
	limit, began := b.advances.rows(), time.Now()
	if err := b.write(ctx, func() []stmt { return []stmt{a.advance(always, limit)} }); err != nil {
		return false, err
	}
	a.announce()
	if more = a.n == limit; more {
		b.advances.done(limit, time.Since(began))
	}
	limit, began = b.expiries.rows(), time.Now()
	n, err := b.expire(ctx, uuid.Nil, limit)
	if n == limit {
		b.expiries.done(limit, time.Since(began))
		more = true
	}
	return more, err
}
