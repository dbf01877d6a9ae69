package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Queues that have a limit, or have had lanes, have a row in limits, and are leased one at a time, each under the lock of its row.
// What others do to their tasks they add to stirs. So nobody who enqueues or settles waits for who leases, or for a transaction
// that stays open; and with what is in stirs, who leases sees the task that it is about. No number here decides how many tasks
// run: leases are counted.

const (
	mostStirs = 20_000 // that a lease takes at the most
	moreLanes = 32     // lanes that a lease looks at, beside one for each task
	moreNames = 8      // tasks of a lane that a lease looks at for one with a name, beside those that it takes

	// beforeBound is how long a lease may take that began before the queue had its row, see limits.made.
	beforeBound = 2 * patience
)

const (
	us = "(extract(epoch FROM {now}) * 1000000)::bigint"

	// A queue gets its row. Its tasks without a lane are bound as far as they are not many: with those that are not, no more
	// can happen than that the turn of what has no lane comes early.
	openQueue = `WITH
	made AS (INSERT INTO {s}.limits (queue, made) VALUES ($1, {now}) ON CONFLICT DO NOTHING RETURNING queue),
	marked AS (
		UPDATE {s}.tasks SET bound = true WHERE ctid = ANY (ARRAY (
			SELECT ctid FROM {s}.tasks WHERE queue = $1 AND state = 1 AND lane IS NULL AND EXISTS (SELECT FROM made)
			LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)) RETURNING id)
	INSERT INTO {s}.lanes (queue, lane, turn, n) SELECT $1, '', true, (SELECT count(*) FROM marked) FROM made ON CONFLICT DO NOTHING`

	lockQueue = "SELECT true FROM {s}.limits WHERE queue = $1 FOR NO KEY UPDATE"

	// Leases of before are bound when there can be no more of them.
	bindLeases = `WITH
	old AS MATERIALIZED (SELECT queue FROM {s}.limits WHERE queue = $1 AND made < {now} - $2 * interval '1 microsecond'),
	marked AS (
		UPDATE {s}.tasks SET bound = true WHERE ctid = ANY (ARRAY (
			SELECT ctid FROM {s}.tasks WHERE EXISTS (SELECT FROM old) AND state = 2 AND queue = $1 AND bound IS NULL
			FOR NO KEY UPDATE SKIP LOCKED)) RETURNING id)
	UPDATE {s}.limits l SET made = NULL FROM old WHERE l.queue = old.queue AND (SELECT count(*) FROM marked) = 0
		AND NOT EXISTS (SELECT FROM {s}.tasks WHERE state = 2 AND queue = $1 AND bound IS NULL)`

	takeStirs = `WITH
	taken AS MATERIALIZED (SELECT ctid AS at, id, lane, n, held FROM {s}.stirs
		WHERE queue = $1 AND EXISTS (SELECT FROM {s}.limits l WHERE l.queue = $1) ORDER BY id LIMIT $2),
	gone AS (DELETE FROM {s}.stirs WHERE ctid = ANY (ARRAY (SELECT at FROM taken))),
	steps AS (
		SELECT t.*, coalesce(l.n, 0) + sum(t.n) OVER (PARTITION BY t.lane ORDER BY t.id) AS after
		FROM taken t LEFT JOIN LATERAL (SELECT n FROM {s}.lanes l WHERE l.queue = $1 AND l.lane = t.lane OFFSET 0) l ON true),
	sums AS (
		SELECT lane, sum(n) AS n, max(id) FILTER (WHERE n > 0 AND after - n <= 0) AS fresh, coalesce(max(held), 0) AS held
		FROM steps GROUP BY lane),
	placed AS MATERIALIZED (
		SELECT s.*, CASE WHEN fresh IS NULL THEN 0 ELSE l.served + row_number() OVER (ORDER BY fresh) END AS place
		FROM sums s CROSS JOIN (SELECT served FROM {s}.limits WHERE queue = $1) l),
	counted AS (
		UPDATE {s}.limits SET served = served + (SELECT count(fresh) FROM placed)
		WHERE queue = $1 AND EXISTS (SELECT FROM placed WHERE fresh IS NOT NULL))
	INSERT INTO {s}.lanes AS l (queue, lane, served, n, turn, held) SELECT $1, lane, place, n, true, held FROM placed
	ON CONFLICT (queue, lane) DO UPDATE SET n = l.n + excluded.n, turn = true, opens = NULL, held = greatest(l.held, excluded.held),
		served = CASE WHEN excluded.served > 0 THEN excluded.served ELSE l.served END`

	reopenLanes = "UPDATE {s}.lanes SET turn = true, opens = NULL WHERE queue = $1 AND opens <= " + us

	// Of each lane whose turn may be next as many tasks are looked at as there can be places for. Round by round each gives one.
	leaseBound = `WITH
	lim AS MATERIALIZED (
		SELECT l.*, ` + us + ` AS us, least($2::bigint,
			CASE WHEN l.running > 0 OR l.lane_running > 0 THEN $6::bigint ELSE $2 END,
			CASE WHEN l.running > 0 THEN greatest(l.running - CASE WHEN l.made IS NULL THEN (
					SELECT count(*) FROM {s}.tasks t WHERE t.queue = $1 AND t.state = 2 AND t.bound AND t.wake > {now})
				ELSE (SELECT count(*) FROM {s}.tasks t WHERE t.state = 2 AND t.queue = $1 AND t.wake > {now}) END, 0) END,
			CASE WHEN l.every > 0 THEN greatest(` + us + ` + l.every * l.burst - greatest(l.used, ` + us + `), 0) / l.every END) AS room
		FROM {s}.limits l WHERE l.queue = $1 AND NOT EXISTS (SELECT FROM {s}.paused p WHERE p.queue = $1)),
	lanes AS MATERIALIZED (
		SELECT c.at, c.lane, c.served,
			greatest(c.held, CASE WHEN c.lane <> '' AND lim.lane_every > 0
				THEN greatest(c.used, lim.us) - lim.lane_every * (lim.lane_burst - 1) END) AS opening,
			CASE WHEN c.lane <> '' AND lim.lane_running > 0 THEN greatest(lim.lane_running - (
				SELECT count(*) FROM {s}.tasks t
				WHERE t.queue = $1 AND t.lane = c.lane AND t.state = 2 AND t.bound AND t.wake > {now}), 0) ELSE lim.room END AS places,
			CASE WHEN c.lane <> '' AND lim.lane_every > 0
				THEN greatest(lim.us + lim.lane_every * lim.lane_burst - greatest(c.used, lim.us), 0) / lim.lane_every END AS rated
		FROM lim CROSS JOIN LATERAL (
			SELECT ctid AS at, * FROM {s}.lanes l WHERE l.queue = $1 AND l.turn ORDER BY l.served LIMIT $8) c
		WHERE lim.room > 0),
	open AS MATERIALIZED (
		SELECT l.lane, l.served, least(lim.room, l.places, l.rated) AS most
		FROM lanes l CROSS JOIN lim WHERE l.opening <= lim.us AND l.places > 0),
	own AS MATERIALIZED (
		SELECT o.*, t.* FROM (SELECT * FROM open WHERE lane = '' OFFSET 0) o CROSS JOIN LATERAL (
			SELECT ctid AS at, name, rank, due, seq FROM {s}.tasks t
			WHERE t.queue = $1 AND t.lane IS NULL AND t.state = 1 AND (t.deadline IS NULL OR t.deadline > {now})
			ORDER BY t.rank, t.due, t.seq LIMIT o.most + $9 FOR NO KEY UPDATE SKIP LOCKED) t),
	others AS MATERIALIZED (
		SELECT o.*, t.* FROM (SELECT * FROM open WHERE lane <> '' ORDER BY served OFFSET 0) o CROSS JOIN LATERAL (
			SELECT ctid AS at, name, rank, due, seq FROM {s}.tasks t
			WHERE t.queue = $1 AND t.lane = o.lane AND t.lane IS NOT NULL AND t.state = 1 AND (t.deadline IS NULL OR t.deadline > {now})
			ORDER BY t.rank, t.due, t.seq LIMIT o.most + $9 FOR NO KEY UPDATE SKIP LOCKED) t),
	found AS MATERIALIZED (
		SELECT f.*, row_number() OVER (PARTITION BY lane ORDER BY (name = ANY ($7::text[])) IS NOT TRUE, rank, due, seq) AS round
		FROM (SELECT * FROM own UNION ALL SELECT * FROM others) f),
	chosen AS MATERIALIZED (
		SELECT at, lane, row_number() OVER (ORDER BY round, served, lane) AS place FROM found WHERE round <= most
		ORDER BY round, served, lane LIMIT (SELECT room FROM lim)),
	leased AS (
		UPDATE {s}.tasks t SET state = 2, attempt = least(t.attempt, 2147483646) + (c.place <= $6)::integer, started = c.place <= $6,
			token = $3::bigint + (t.followed IS NOT NULL)::integer, since = {now}, worker = $4, wake = {now} + $5 * interval '1 microsecond',
			bound = true
		FROM chosen c WHERE t.ctid = c.at
		RETURNING t.id, t.queue, t.rank, t.due, t.seq, t.attempt, t.started, t.lost, t.shunned, t.wake, t.task,
			t.token, t.tie, t.resumed, t.saved, c.place),
	turned AS MATERIALIZED (SELECT lane, max(place) AS place, count(*) AS n FROM chosen GROUP BY lane),
	served AS (
		UPDATE {s}.lanes l SET
			served = CASE WHEN t.n > 0 THEN lim.served + t.place ELSE l.served END,
			used = CASE WHEN t.n > 0 AND l.lane <> '' AND lim.lane_every > 0 THEN greatest(l.used, lim.us) + t.n * lim.lane_every ELSE l.used END,
			turn = coalesce(t.n > 0, false) OR l.lane = '' AND c.opening <= lim.us,
			opens = CASE WHEN t.n > 0 THEN NULL WHEN c.opening > lim.us THEN c.opening
				WHEN c.places = 0 THEN (SELECT (extract(epoch FROM min(b.wake)) * 1000000)::bigint + 1 FROM {s}.tasks b
					WHERE b.queue = $1 AND b.lane = l.lane AND b.state = 2 AND b.bound AND b.wake > {now})
				WHEN l.lane <> '' AND EXISTS (SELECT FROM {s}.tasks b WHERE b.queue = $1 AND b.lane = l.lane AND b.lane IS NOT NULL AND b.state = 1)
				THEN lim.us + 100000 END
		FROM lanes c LEFT JOIN turned t ON t.lane = c.lane CROSS JOIN lim
		WHERE l.ctid = c.at AND (t.n > 0 OR c.opening > lim.us OR c.places = 0
			OR l.lane <> '' AND NOT EXISTS (SELECT FROM found f WHERE f.lane = c.lane))
		RETURNING t.n > 0 AS took),
	charged AS (
		UPDATE {s}.limits l SET served = l.served + c.n,
			used = CASE WHEN l.every > 0 THEN greatest(l.used, lim.us) + c.n * l.every ELSE l.used END
		FROM lim CROSS JOIN (SELECT count(*) AS n FROM chosen) c WHERE l.queue = $1 AND c.n > 0),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, count(*) AS n FROM leased GROUP BY queue) l
		CROSS JOIN LATERAL (VALUES (1, -l.n), (2, l.n)) c (state, n))
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, task_id, type, attempt, queue, worker)
		SELECT {until}, {now}, id, 2, attempt, queue, nullif($4, '') FROM leased WHERE started):events}
	SELECT id, queue, rank, greatest(due, '0001-01-01Z'::timestamptz), seq, attempt, started, lost,
		CASE WHEN isfinite(shunned) THEN (extract(epoch FROM {now} - shunned) * 1000000)::bigint ELSE 0 END, wake, task,
		token, tie, resumed, saved, place FROM leased
	UNION ALL SELECT '00000000-0000-0000-0000-000000000000', $1, 0, {now}, 0, 0, false, 0, 0, {now}, '', 0, NULL, NULL, NULL, 0
	WHERE EXISTS (SELECT FROM served WHERE took IS NOT TRUE)`

	// When it may be worth to look again, in microseconds, and whether there are stirs left.
	nextOpening = `SELECT l.has, least(nullif(greatest(l.rate - us, 0), 0), nullif(greatest(l.lanes - us, 0), 0), nullif(greatest(l.lease - us, 0), 0))
	FROM (SELECT ` + us + ` AS us, EXISTS (SELECT FROM {s}.stirs s WHERE s.queue = $1) AS has,
			CASE WHEN every > 0 THEN used - every * (burst - 1) END AS rate,
			(SELECT min(opens) FROM {s}.lanes n WHERE n.queue = $1 AND n.opens IS NOT NULL) AS lanes,
			CASE WHEN running > 0 THEN (SELECT (extract(epoch FROM min(wake)) * 1000000)::bigint + 1 FROM {s}.tasks t
				WHERE t.queue = $1 AND t.state = 2 AND t.bound AND t.wake > {now} AND t.wake < 'infinity') END AS lease
		FROM {s}.limits WHERE queue = $1) l`

	holdLanes = `INSERT INTO {s}.stirs (id, queue, lane, n, held)
		SELECT nextval('{s}.task_order') * 65536, t.queue, coalesce(t.lane, ''), 0, ` + us + ` + i.hold FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS i (id, token, hold)
		CROSS JOIN LATERAL (SELECT queue, lane FROM {s}.tasks t WHERE t.id = i.id AND t.token = i.token AND t.wake > {now} OFFSET 0) t`

	setLimit = `UPDATE {s}.limits SET spec = $2, running = $3, every = $4, burst = $5, lane_running = $6, lane_every = $7, lane_burst = $8,
		used = CASE WHEN $4::bigint > 0 THEN least(used, ` + us + ` + $4::bigint * $5::bigint) ELSE 0 END WHERE queue = $1`

	// All that are not held back or empty are looked at anew.
	setLanes = `UPDATE {s}.lanes SET turn = true, opens = NULL,
		used = CASE WHEN $2::bigint > 0 THEN least(used, ` + us + ` + $2::bigint * $3::bigint) ELSE 0 END WHERE queue = $1`

	sweepLanes = `WITH gone AS (
			DELETE FROM {s}.lanes WHERE ctid = ANY (ARRAY (
				SELECT l.ctid FROM {s}.lanes l
				WHERE l.lane <> '' AND l.n <= 0 AND l.used <= ` + us + ` AND l.held <= ` + us + `
					AND (SELECT true FROM {s}.limits q WHERE q.queue = l.queue FOR NO KEY UPDATE SKIP LOCKED)
					AND (SELECT true FROM {s}.tasks t WHERE t.queue = l.queue AND t.lane = l.lane AND t.lane IS NOT NULL AND t.state = 1 LIMIT 1) IS NULL
					AND (SELECT true FROM {s}.tasks t WHERE t.queue = l.queue AND t.lane = l.lane AND t.state = 2 AND t.bound LIMIT 1) IS NULL
				LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING lane)
		SELECT count(*) FROM gone`

	// Stirs that wait count, too.
	countLanes = `SELECT queue, count(*) FROM (
			SELECT queue, lane FROM (
				SELECT queue, lane, n FROM {s}.lanes WHERE lane <> '' UNION ALL SELECT queue, lane, n FROM {s}.stirs WHERE lane <> '') l
			GROUP BY queue, lane HAVING sum(n) > 0) n GROUP BY queue`
	limitsOf = "SELECT queue, spec FROM {s}.limits WHERE spec IS NOT NULL"
)

// SetLimit gives a queue another limit: see [omniq.TaskQueue].
func (b *Backend) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if err := engine.CheckLimit(queue, limit); err != nil {
		return err
	}
	queue = cmp.Or(queue, omniq.DefaultQueue)
	var spec *string
	if limit != (omniq.Limit{}) {
		text, err := json.Marshal(limit)
		if err != nil {
			return err
		}
		spec = new(string(text))
	}
	every, burst := paceOf(limit.Rate)
	laneEvery, laneBurst := paceOf(limit.EachLane.Rate)
	err := b.write(ctx, func() []stmt {
		var stmts []stmt
		if spec != nil {
			stmts = append(stmts, stmt{sql: b.sql.of(openQueue), args: []any{queue}})
		}
		return append(stmts,
			stmt{sql: b.sql.of(lockQueue), args: []any{queue}},
			stmt{sql: b.sql.of(setLimit), args: []any{queue, spec, limit.Running, every, burst, limit.EachLane.Running, laneEvery, laneBurst}},
			stmt{sql: b.sql.of(setLanes), args: []any{queue, laneEvery, laneBurst}})
	})
	if err == nil {
		b.tell(queueTopic(queue))
	}
	return err
}

// paceOf is a rate in microseconds.
func paceOf(r omniq.Rate) (every, burst int64) {
	if r == (omniq.Rate{}) {
		return 0, 0
	}
	d, n := r.Every()
	return d.Microseconds(), int64(n)
}

// boundLease is what leasing of a queue with a limit has found.
type boundLease struct {
	known bool          // the queue has a row in limits
	again bool          // lanes were passed over, or there are stirs left: it is worth to look again at once
	opens time.Duration // when it is worth to look again; 0 if that is not known
}

// leaseBound hands out what is ready in the first queue, and its limit permits.
func (b *Backend) leaseBound(ctx context.Context, r *omniq.LeaseRequest) (got []leased, l boundLease, err error) {
	queue, most := r.Queues[0], r.Max
	if len(r.Limits) > 0 {
		most = min(most, r.Limits[0])
	}
	more := 0
	if len(r.Names) > 0 {
		more = moreNames
	}
	lingering, stop := linger(ctx)
	defer stop()
	bound, cancel := bounded(lingering)
	defer cancel()
	moved := advancing{b: b}
	for opened := false; ; {
		token := rand.Int64() &^ 1
		err = b.write(bound, func() []stmt {
			got, l = nil, boundLease{}
			return []stmt{
				{sql: unflushed},
				{sql: b.sql.of(lockQueue), args: []any{queue}, row: func(row scanner) error { return row.Scan(&l.known) }},
				moved.advance(b.maintainer.horizon(), leaseAdvance),
				{sql: b.sql.of(bindLeases), args: []any{queue, beforeBound.Microseconds()}},
				{sql: b.sql.of(takeStirs), args: []any{queue, mostStirs}},
				{sql: b.sql.of(reopenLanes), args: []any{queue}},
				{
					sql: b.sql.of(leaseBound),
					args: []any{
						queue, most, token, r.WorkerID, microseconds(r.Duration), min(r.Max-r.Ahead, most), list[string](r.Names), most + moreLanes, more,
					},
					row: func(row scanner) error {
						var t leased
						err := t.scan(row, &t.place)
						if t.id == uuid.Nil {
							l.again = true
							return err
						}
						got = append(got, t)
						return err
					},
				},
				{sql: b.sql.of(nextOpening), args: []any{queue}, row: func(row scanner) error {
					var stirs bool
					var in *int64
					err := row.Scan(&stirs, &in)
					l.again = l.again || stirs
					if in != nil {
						l.opens = time.Duration(*in) * time.Microsecond
					}
					return err
				}},
			}
		})
		if err != nil {
			if ctx.Err() != nil {
				err = contextError(ctx) // the caller's, not the one that lingers
			}
			return nil, l, err
		}
		moved.announce()
		if !l.known && !opened {
			opened = true
			some := false
			err := b.read(bound, stmt{sql: b.sql.of(stirsOf), args: []any{queue}, row: func(row scanner) error { return row.Scan(&some) }})
			if err == nil && some {
				err = b.write(bound, func() []stmt { return []stmt{{sql: b.sql.of(openQueue), args: []any{queue}}} })
			}
			if err != nil || !some {
				return nil, l, err
			}
			continue
		}
		if len(got) > 0 || !l.again {
			return got, l, nil
		}
		if err := b.alive(ctx); err != nil {
			return nil, l, err
		}
	}
}

// sweepStirs takes the stirs of queues of which nobody leases.
func (b *Backend) sweepStirs(ctx context.Context) error {
	bound, cancel := bounded(ctx)
	defer cancel()
	var queues []string
	err := b.search(bound, stmt{sql: b.sql.of(stirredQueues), row: func(row scanner) error {
		var queue string
		err := row.Scan(&queue)
		queues = append(queues, queue)
		return err
	}})
	for _, q := range queues {
		if err != nil {
			return err
		}
		err = b.write(bound, func() []stmt {
			return []stmt{
				{sql: unflushed},
				{sql: b.sql.of(openQueue), args: []any{q}},
				{sql: b.sql.of(lockQueue), args: []any{q}},
				{sql: b.sql.of(takeStirs), args: []any{q, mostStirs}},
			}
		})
	}
	return err
}

// One look for each queue.
const stirredQueues = `WITH RECURSIVE step (queue) AS (
		(SELECT queue FROM {s}.stirs ORDER BY queue LIMIT 1)
		UNION ALL
		SELECT n.queue FROM step CROSS JOIN LATERAL (SELECT s.queue FROM {s}.stirs s WHERE s.queue > step.queue ORDER BY s.queue LIMIT 1) n)
	SELECT queue FROM step LIMIT 100`

const stirsOf = "SELECT EXISTS (SELECT FROM {s}.stirs s WHERE s.queue = $1)"

// open gives the queues of tasks with lanes their rows, before the tasks are stored: in a transaction of its own, because that
// which stores them may stay open. Where it is not done, the first lease does it.
func (b *Backend) openQueues(ctx context.Context, tasks []newTask) error {
	var queues []string
	for i := range tasks {
		if t := &tasks[i]; t.lane != "" && !b.bounded(t.queue) && !slices.Contains(queues, t.queue) {
			queues = append(queues, t.queue)
		}
	}
	slices.Sort(queues)
	for _, q := range queues {
		if err := b.write(ctx, func() []stmt { return []stmt{{sql: b.sql.of(openQueue), args: []any{q}}} }); err != nil {
			return err
		}
		b.limited.Store(q, true)
	}
	return nil
}

// holds is the statement that holds the lanes of settlements back, as far as these take effect: before them.
func (b *Backend) holds(held map[hold]time.Duration) (s stmt, some bool) {
	var ids list[pgtype.UUID]
	var tokens, times list[int64]
	for h, d := range held {
		ids, tokens, times = append(ids, uuidOf(h.id)), append(tokens, h.token), append(times, microseconds(d))
	}
	return stmt{sql: b.sql.of(holdLanes), args: []any{ids, tokens, times}}, len(ids) > 0
}
