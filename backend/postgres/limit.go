package postgres

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Queues that have a limit or lanes have a row in limits, and are leased one at a time, each under the lock of its row. What others do
// to the tasks of those that have lanes, they add to stirs. So nobody who enqueues or settles waits for who leases, or for a
// transaction that stays open; and with what is in stirs, who leases sees the task that it is about. No number here decides how many
// tasks run: leases are counted. One that runs out counts until it is advanced: who has locked its row may be extending it.

const (
	mostStirs  = 20_000                 // that a lease takes at the most
	moreLanes  = 32                     // lanes that a lease looks at, beside one for each task
	wholeStirs = 100 * time.Millisecond // in which stirs are looked for from the first: it takes passing those that are gone

	moreTasks = 8 // tasks of a lane that a lease looks at, beside those that it takes: for one with a name, and past locked ones

	// beforeBound is how long a lease may take that began before the queue had its row, see limits.made.
	beforeBound = 2 * patience

	// seenLanes is how long this process need not say again that a queue has lanes: less than the row stays without anything.
	seenLanes = 20 * time.Second
)

const (
	us = "(extract(epoch FROM {now}) * 1000000)::bigint"

	// The row is locked, or made. What runs is bound when there can be no more leases of before: until then it is searched for.
	lockQueue = `SELECT l.laned, NOT l.laned AND EXISTS (SELECT FROM {s}.stirs s WHERE s.queue = l.queue),
			coalesce(l.made < {now} - $2 * interval '1 microsecond', false)
		FROM {s}.limits l WHERE l.queue = $1 FOR NO KEY UPDATE`

	// A queue gets lanes. Its tasks without one are counted as far as they are not many: with those that are not, no more can happen
	// than that the turn of what has no lane comes early, or one round late.
	divideQueue = `WITH
	made AS (
		INSERT INTO {s}.limits AS l (queue, seen, made, laned) VALUES ($1, {now}, {now}, true)
		ON CONFLICT (queue) DO UPDATE SET laned = true, seen = {now} WHERE NOT l.laned RETURNING queue),
	seen AS (UPDATE {s}.limits SET seen = {now} WHERE queue = $1 AND NOT EXISTS (SELECT FROM made)),
	marked AS (
		UPDATE {s}.tasks SET bound = true WHERE ctid = ANY (ARRAY (
			SELECT ctid FROM {s}.tasks WHERE EXISTS (SELECT FROM made) AND queue = $1 AND state = 1 AND lane IS NULL
				AND bound IS NOT TRUE LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)) RETURNING id)
	INSERT INTO {s}.lanes AS l (queue, lane, turn, n) SELECT $1, '', true, (SELECT count(*) FROM marked) FROM made
	ON CONFLICT (queue, lane) DO UPDATE SET turn = true, opens = NULL, n = l.n + excluded.n`

	// Leases of before are bound. The queue is locked.
	bindLeases = `WITH marked AS (
		UPDATE {s}.tasks SET bound = false WHERE ctid = ANY (ARRAY (
			SELECT ctid FROM {s}.tasks WHERE id > '00000000-0000-0000-0000-000000000000' AND state = 2 AND queue = $1 AND bound IS NULL
			FOR NO KEY UPDATE SKIP LOCKED)) RETURNING id)
	UPDATE {s}.limits SET made = NULL WHERE queue = $1 AND made IS NOT NULL AND (SELECT count(*) FROM marked) = (
		SELECT count(*) FROM {s}.tasks WHERE id > '00000000-0000-0000-0000-000000000000' AND state = 2 AND queue = $1 AND bound IS NULL)`

	// Those up to $3 are left for another time. A lane of which tasks have only gone has nothing new to hand out, but a place.
	takeStirs = `WITH
	taken AS MATERIALIZED (SELECT ctid AS at, id, lane, n, held FROM {s}.stirs
		WHERE queue = $1 AND id > $3 AND EXISTS (SELECT FROM {s}.limits l WHERE l.queue = $1 AND l.laned) ORDER BY id LIMIT $2),
	gone AS (DELETE FROM {s}.stirs WHERE ctid = ANY (ARRAY (SELECT at FROM taken))),
	steps AS (
		SELECT s.*, sum(n) OVER (PARTITION BY lane ORDER BY id ROWS UNBOUNDED PRECEDING) AS after FROM (
			SELECT d.lane, 0 AS id, l.n, NULL::bigint AS held FROM (SELECT DISTINCT lane FROM taken) d
			CROSS JOIN LATERAL (SELECT n FROM {s}.lanes l WHERE l.queue = $1 AND l.lane = d.lane OFFSET 0) l
			UNION ALL SELECT lane, id, n, held FROM taken) s),
	sums AS (
		SELECT lane, sum(n) FILTER (WHERE id > 0) AS n, max(id) FILTER (WHERE id > 0 AND n > 0 AND after - n <= 0) AS fresh,
			coalesce(max(held), 0) AS held, bool_or(n >= 0) FILTER (WHERE id > 0) AS ready
		FROM steps GROUP BY lane),
	placed AS MATERIALIZED (
		SELECT s.*, CASE WHEN fresh IS NULL THEN 0 ELSE l.served + row_number() OVER (ORDER BY fresh) END AS place,
			s.ready OR l.lane_running > 0 AS turn
		FROM sums s CROSS JOIN (SELECT served, lane_running FROM {s}.limits WHERE queue = $1) l),
	counted AS (
		UPDATE {s}.limits SET served = served + (SELECT count(fresh) FROM placed)
		WHERE queue = $1 AND EXISTS (SELECT FROM placed WHERE fresh IS NOT NULL)),
	put AS (
		INSERT INTO {s}.lanes AS l (queue, lane, served, n, turn, held) SELECT $1, lane, place, n, turn, held FROM placed
		ON CONFLICT (queue, lane) DO UPDATE SET n = l.n + excluded.n, held = greatest(l.held, excluded.held),
			turn = l.turn OR excluded.turn, opens = CASE WHEN excluded.turn THEN NULL ELSE l.opens END,
			served = CASE WHEN excluded.served > 0 THEN excluded.served ELSE l.served END)
	SELECT max(id) FROM taken`

	// In the order of lanes_opens, so that no plan looks at all lanes of the queue.
	reopenLanes = `UPDATE {s}.lanes SET turn = true, opens = NULL WHERE ctid = ANY (ARRAY (
		SELECT ctid FROM {s}.lanes WHERE queue = $1 AND opens <= ` + us + ` ORDER BY opens))`

	// How many tasks the limit of the queue permits: {starts} is how many may start at once, and $2 how many there may be.
	limitRoom = `SELECT l.*, ` + us + ` AS us, greatest(least($2::bigint,
			CASE WHEN l.running > 0 OR l.lane_running > 0 THEN {starts}::bigint END,
			CASE WHEN l.running > 0 THEN l.running - CASE WHEN l.made IS NULL THEN (
					SELECT count(*) FROM {s}.tasks t WHERE t.queue = {queue} AND t.state = 2 AND t.bound IS NOT NULL)
				ELSE (SELECT count(*) FROM {s}.tasks t WHERE t.id > '00000000-0000-0000-0000-000000000000' AND t.state = 2 AND t.queue = {queue}) END END,
			CASE WHEN l.every > 0 THEN (` + us + ` + l.every * l.burst - greatest(l.used, ` + us + `)) / l.every END), 0) AS room
		FROM {s}.limits l WHERE l.queue = {queue} AND NOT EXISTS (SELECT FROM {s}.paused p WHERE p.queue = {queue})`

	// The first tasks of a lane, those with the names before the others, as far as nobody else has locked them.
	firstOfLane = `
			SELECT t.* FROM (
				SELECT at FROM (
					SELECT * FROM (
						SELECT ctid AS at, name, rank, due, seq FROM {s}.tasks t
						WHERE o.lane = '' AND t.queue = $1 AND t.lane IS NULL AND t.state = 1 AND (t.deadline IS NULL OR t.deadline > {now})
						ORDER BY t.rank, t.due, t.seq LIMIT o.n + $9) own
					UNION ALL SELECT * FROM (
						SELECT ctid AS at, name, rank, due, seq FROM {s}.tasks t
						WHERE o.lane <> '' AND t.queue = $1 AND t.lane = o.lane AND t.lane IS NOT NULL AND t.state = 1
							AND (t.deadline IS NULL OR t.deadline > {now})
						ORDER BY t.rank, t.due, t.seq LIMIT o.n + $9) others) x
				ORDER BY (name = ANY ($7::text[])) IS NOT TRUE, rank, due, seq OFFSET 0) x
			CROSS JOIN LATERAL (
				SELECT ctid AS at, id, name, rank, due, seq FROM {s}.tasks t WHERE t.ctid = x.at AND t.state = 1 FOR NO KEY UPDATE SKIP LOCKED) t
			LIMIT o.n`

	// When it may be worth to look again, in microseconds, and whether there are stirs left.
	nextOpening = `SELECT l.laned AND EXISTS (SELECT FROM {s}.stirs s WHERE s.queue = $1),
			least(nullif(greatest(l.rate - us, 0), 0), nullif(greatest(l.lanes - us, 0), 0))
		FROM (SELECT ` + us + ` AS us, laned, CASE WHEN every > 0 THEN used - every * (burst - 1) END AS rate,
				(SELECT min(opens) FROM {s}.lanes n WHERE n.queue = $1 AND n.opens IS NOT NULL) AS lanes
			FROM {s}.limits WHERE queue = $1) l`

	holdLanes = `INSERT INTO {s}.stirs (id, queue, lane, n, held)
		SELECT nextval('{s}.task_order') * 65536, t.queue, coalesce(t.lane, ''), 0, ` + us + ` + i.hold FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS i (id, token, hold)
		CROSS JOIN LATERAL (SELECT queue, lane FROM {s}.tasks t WHERE t.id = i.id AND t.token = i.token AND coalesce(t.wake > {now}, false) OFFSET 0) t`

	// A limit of nothing makes no row.
	setLimit = `INSERT INTO {s}.limits AS l (queue, seen, made, spec, running, every, burst, lane_running, lane_every, lane_burst)
		SELECT $1::text, {now}, {now}, $2::text, $3::integer, $4::bigint, $5::bigint, $6::integer, $7::bigint, $8::bigint
		WHERE $2 IS NOT NULL OR EXISTS (SELECT FROM {s}.limits WHERE queue = $1)
		ON CONFLICT (queue) DO UPDATE SET spec = excluded.spec, running = excluded.running, every = excluded.every, burst = excluded.burst,
			lane_running = excluded.lane_running, lane_every = excluded.lane_every, lane_burst = excluded.lane_burst,
			used = CASE WHEN excluded.every > 0 THEN least(l.used, ` + us + ` + excluded.every * excluded.burst) ELSE 0 END`

	// All that are not held back or empty are looked at anew.
	setLanes = `UPDATE {s}.lanes SET turn = true, opens = NULL,
		used = CASE WHEN $2::bigint > 0 THEN least(used, ` + us + ` + $2::bigint * $3::bigint) ELSE 0 END WHERE queue = $1`

	sweepLanes = `WITH gone AS (
			DELETE FROM {s}.lanes WHERE ctid = ANY (ARRAY (
				SELECT l.ctid FROM {s}.lanes l
				WHERE l.lane <> '' AND l.n <= 0 AND greatest(l.used, l.held) <= ` + us + `
					AND (SELECT true FROM {s}.limits q WHERE q.queue = l.queue FOR NO KEY UPDATE SKIP LOCKED)
					AND (SELECT true FROM {s}.tasks t WHERE t.queue = l.queue AND t.lane = l.lane AND t.lane IS NOT NULL AND t.state = 1 LIMIT 1) IS NULL
					AND (SELECT true FROM {s}.tasks t WHERE t.queue = l.queue AND t.lane = l.lane AND t.state = 2 AND t.bound IS NOT NULL LIMIT 1) IS NULL
				ORDER BY greatest(l.used, l.held) LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING lane)
		SELECT count(*) FROM gone`

	// Queues that have neither a limit, nor lanes that anything is known of.
	unboundQueues = `SELECT queue FROM {s}.limits q WHERE ` + unbound + ` LIMIT 100`
	unbound       = `q.spec IS NULL AND q.seen < {now} - interval '1 minute' AND (SELECT true FROM {s}.stirs s WHERE s.queue = q.queue LIMIT 1) IS NULL
			AND (SELECT true FROM {s}.lanes l WHERE l.queue = q.queue
				AND (l.lane <> '' OR l.n > 0 OR l.held > ` + us + `) LIMIT 1) IS NULL`
	uniteQueue = `WITH gone AS (DELETE FROM {s}.limits q WHERE q.queue = $1 AND ` + unbound + ` RETURNING queue)
		DELETE FROM {s}.lanes l USING gone WHERE l.queue = ANY (ARRAY[gone.queue])`

	// Stirs that wait count, too.
	countLanes = `SELECT queue, count(*) FROM (
			SELECT queue, lane FROM (
				SELECT queue, lane, n FROM {s}.lanes WHERE lane <> '' UNION ALL SELECT queue, lane, n FROM {s}.stirs WHERE lane <> '') l
			GROUP BY queue, lane HAVING sum(n) > 0) n GROUP BY queue`
	limitsOf = "SELECT queue, spec FROM {s}.limits WHERE spec IS NOT NULL"
)

const (
	// Where a task stands among those that are leased, and whether it starts: the first $6 do, see begins. The place is looked up by ID.
	placeOfLanes  = "((SELECT of FROM places) -> t.id::text)::bigint"
	beginsOfLanes = "$6 >= (SELECT n FROM places) OR " + placeOfLanes + " <= $6 OR $10 AND t.lost = 0"
)

// Of each lane whose turn may be next its share of the tasks is looked at; of those that have more, all that there can be places
// for, if it is not enough. Round by round each gives one.
var leaseLanes = strings.NewReplacer("{queue}", "$1", "{starts}", "$6").Replace(`WITH
	lim AS MATERIALIZED (` + limitRoom + ` AND l.laned),
	lanes AS MATERIALIZED (
		SELECT c.lane, c.served,
			greatest(c.held, CASE WHEN c.lane <> '' AND lim.lane_every > 0
				THEN greatest(c.used, lim.us) - lim.lane_every * (lim.lane_burst - 1) END) AS opening,
			CASE WHEN c.lane <> '' AND lim.lane_running > 0 THEN greatest(lim.lane_running - (
				SELECT count(*) FROM {s}.tasks t
				WHERE t.queue = $1 AND t.lane = c.lane AND t.state = 2 AND t.bound IS NOT NULL), 0) ELSE lim.room END AS places,
			CASE WHEN c.lane <> '' AND lim.lane_every > 0
				THEN greatest(lim.us + lim.lane_every * lim.lane_burst - greatest(c.used, lim.us), 0) / lim.lane_every END AS rated
		FROM lim CROSS JOIN LATERAL (
			SELECT * FROM {s}.lanes l WHERE l.queue = $1 AND l.turn ORDER BY l.served LIMIT $8) c
		WHERE lim.room > 0),
	open AS MATERIALIZED (
		SELECT l.lane, l.served, least(lim.room, l.places, l.rated) AS most, lim.room,
			(lim.room + count(*) OVER () - 1) / count(*) OVER () AS share
		FROM lanes l CROSS JOIN lim WHERE l.opening <= lim.us AND l.places > 0),
	first AS MATERIALIZED (
		SELECT o.lane, o.served, o.most, o.share, o.room, t.* FROM (SELECT *, least(most, share) AS n FROM open ORDER BY served OFFSET 0) o
		CROSS JOIN LATERAL (` + firstOfLane + `) t
		LIMIT (SELECT CASE WHEN share = 1 THEN room END FROM open LIMIT 1)),
	short AS MATERIALIZED (
		SELECT lane, served, most, share, room FROM first WHERE most > share AND (SELECT count(*) FROM first) < room
		GROUP BY lane, served, most, share, room HAVING count(*) = share),
	more AS MATERIALIZED (
		SELECT o.lane, o.served, o.most, o.share, o.room, t.* FROM (SELECT *, most AS n FROM short ORDER BY served OFFSET 0) o
		CROSS JOIN LATERAL (` + firstOfLane + `) t),
	found AS MATERIALIZED (
		SELECT f.*, row_number() OVER (PARTITION BY lane ORDER BY (name = ANY ($7::text[])) IS NOT TRUE, rank, due, seq) AS round
		FROM (SELECT * FROM first WHERE lane NOT IN (SELECT lane FROM short) UNION ALL SELECT * FROM more) f),
	chosen AS MATERIALIZED (
		SELECT at, id, lane, row_number() OVER (ORDER BY round, served, lane) AS place FROM found WHERE round <= most
		ORDER BY round, served, lane LIMIT coalesce((SELECT room FROM lim), 0)),
	places AS MATERIALIZED (SELECT count(*) AS n, jsonb_object_agg(id, place) AS of FROM chosen),
	leased AS (
		UPDATE {s}.tasks t SET state = 2, attempt = least(t.attempt, 2147483646) + (` + beginsOfLanes + `)::integer, started = ` + beginsOfLanes + `,
			token = $3::bigint + (t.followed IS NOT NULL)::integer, since = {now}, worker = $4, wake = {now} + $5 * interval '1 microsecond',
			bound = coalesce(t.bound, false)
		WHERE t.ctid = ANY (ARRAY (SELECT at FROM chosen))
		RETURNING t.id, t.name, t.queue, t.rank, t.due, t.seq, t.attempt, t.started, t.lost, t.shunned, t.wake, t.task,
			t.token, t.tie, t.resumed, t.saved, ` + placeOfLanes + ` AS place),
	turned AS MATERIALIZED (
		SELECT lane, max(served) AS served, max(opening) AS opening, max(places) AS places, max(place) AS place, count(place) AS n
		FROM (SELECT lane, served, opening, places, NULL::bigint AS place FROM lanes
			UNION ALL SELECT lane, NULL, NULL, NULL, place FROM chosen) l GROUP BY lane),
	looked AS MATERIALIZED ( -- up to which lane: one behind it keeps its turn
		SELECT CASE WHEN count(*) >= (SELECT room FROM open WHERE share = 1 LIMIT 1) THEN max(served) ELSE 9223372036854775807 END AS last
		FROM first),
	served AS (
		UPDATE {s}.lanes l SET
			served = CASE WHEN t.n > 0 THEN lim.served + t.place ELSE l.served END,
			used = CASE WHEN t.n > 0 AND l.lane <> '' AND lim.lane_every > 0 THEN greatest(l.used, lim.us) + t.n * lim.lane_every ELSE l.used END,
			turn = t.n > 0 OR l.lane = '' AND t.opening <= lim.us,
			opens = CASE WHEN t.n > 0 THEN NULL WHEN t.opening > lim.us THEN t.opening
				WHEN t.places > 0 AND l.lane <> '' AND ( -- not EXISTS, for which all lanes may be read at once
					SELECT true FROM {s}.tasks b WHERE b.queue = $1 AND b.lane = l.lane AND b.lane IS NOT NULL AND b.state = 1 LIMIT 1)
				THEN lim.us + 100000 END
		FROM turned t CROSS JOIN lim CROSS JOIN looked
		WHERE l.queue = $1 AND l.lane = t.lane AND (t.n > 0 OR t.opening > lim.us OR t.places = 0
			OR l.lane <> '' AND t.served <= looked.last AND t.lane NOT IN (SELECT lane FROM found))
		RETURNING t.n > 0 AS took),
	charged AS (
		UPDATE {s}.limits l SET served = l.served + c.n,
			used = CASE WHEN l.every > 0 THEN greatest(l.used, lim.us) + c.n * l.every ELSE l.used END
		FROM lim CROSS JOIN (SELECT count(*) AS n FROM chosen) c WHERE l.queue = $1 AND c.n > 0),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, count(*) AS n FROM leased GROUP BY queue) l
		CROSS JOIN LATERAL (VALUES (1, -l.n), (2, l.n)) c (state, n)),
	tallied AS (
		INSERT INTO {s}.tallies (at, what, n, us, queue, name)
		SELECT {now}, 2, count(*), ` + waitOf + `, queue, name FROM leased WHERE started GROUP BY queue, name)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker)
		SELECT {until}, {now}, name, id, 2, attempt, queue, nullif($4, '') FROM leased WHERE started):events}
	SELECT id, queue, rank, greatest(due, '0001-01-01Z'::timestamptz), seq, attempt, started, lost,
		CASE WHEN isfinite(shunned) THEN (extract(epoch FROM {now} - shunned) * 1000000)::bigint ELSE 0 END, wake, task,
		token, tie, resumed, saved, place FROM leased
	UNION ALL SELECT '00000000-0000-0000-0000-000000000000', $1, 0, {now}, 0, 0, false, 0, 0, {now}, '', 0, NULL, NULL, NULL, 0
	WHERE EXISTS (SELECT FROM served WHERE NOT took)`)

// SetLimit gives a queue another limit: see [omniq.TaskQueue].
func (b *Backend) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if err := engine.CheckLimit(queue, limit); err != nil {
		return err
	}
	queue = cmp.Or(queue, omniq.DefaultQueue)
	var spec *string
	if limit != (omniq.Limit{}) {
		spec = new(limit.String())
	}
	every, burst := paceOf(limit.Rate)
	laneEvery, laneBurst := paceOf(limit.EachLane.Rate)
	err := b.write(ctx, func() []stmt {
		return []stmt{
			{sql: b.sql.of(setLimit), args: []any{queue, spec, limit.Running, every, burst, limit.EachLane.Running, laneEvery, laneBurst}},
			{sql: b.sql.of(setLanes), args: []any{queue, laneEvery, laneBurst}},
		}
	})
	if err == nil {
		b.tell(queueTopic(queue))
	}
	return err
}

// paceOf is a rate in microseconds, 0 for none.
func paceOf(r omniq.Rate) (every, burst int64) {
	if r == (omniq.Rate{}) {
		return 0, 0
	}
	d, n := r.Every()
	return d.Microseconds(), int64(n)
}

// bounds is what was last seen of a queue that has a limit or lanes.
type bounds struct {
	laned   bool
	unbound bool      // leases of before are to be bound
	seen    time.Time // when this process said that it has lanes
	stirs   int64     // the last that was taken. An earlier one can come later, with its transaction
	whole   time.Time // when those before were looked for
}

// boundsOf is what is known of a queue that had a limit or lanes when it was last looked at.
func (b *Backend) boundsOf(queue string) (of bounds, some bool) {
	v, some := b.limited.Load(queue)
	if some {
		of = v.(bounds)
	}
	return of, some
}

// boundLease is what leasing of a queue with a limit or lanes has found.
type boundLease struct {
	bounds
	known   bool // the queue has a row in limits
	stirred bool // it has no lanes, and there are stirs
	again   bool // lanes were passed over, or there are stirs left: it is worth to look again at once
}

// leaseBound hands out what is ready in the first queue, and its limit permits. Known is false if it has neither a limit nor lanes.
// Opens is when it is worth to look again if there is nothing; 0 if that is not known.
func (b *Backend) leaseBound(ctx context.Context, r *omniq.LeaseRequest) (got []leased, opens time.Duration, known bool, err error) {
	queue := r.Queues[0]
	lingering, stop := linger(ctx)
	defer stop()
	bound, cancel := bounded(lingering)
	defer cancel()
	for divided := false; ; {
		of, _ := b.boundsOf(queue)
		var l boundLease
		var raised bool
		got, l, raised, err = b.leaseOnce(bound, r, of)
		if err != nil {
			if ctx.Err() != nil {
				err = contextError(ctx) // the caller's, not the one that lingers
			}
			return nil, 0, false, err
		}
		if !l.known {
			b.limited.Delete(queue)
			if err := b.search(bound, stmt{sql: b.sql.of(stirsOf), args: []any{queue}, row: func(row scanner) error { return row.Scan(&l.stirred) }}); err != nil {
				return nil, 0, false, err
			}
			if !l.stirred || divided {
				return nil, 0, false, nil
			}
		} else {
			l.seen = of.seen
			if l.again || len(got) == 0 {
				l.whole = time.Time{}
			}
			b.limited.Store(queue, l.bounds)
		}
		if l.stirred && !divided {
			divided = true
			err := b.divide(bound, queue)
			if len(got) > 0 {
				return got, 0, true, nil // they are ours whatever became of that, and the next call sees the stirs
			}
			if err != nil {
				return nil, 0, true, err
			}
			continue
		}
		if len(got) > 0 {
			return got, 0, true, nil
		}
		if opens, err = b.nextOpening(bound, queue, &l); err != nil {
			return nil, 0, false, err
		}
		if !l.again && !raised && l.laned == of.laned {
			return nil, opens, true, nil
		}
		if err := b.alive(ctx); err != nil {
			return nil, 0, false, err
		}
	}
}

// leaseOnce looks once for what leaseBound hands out. Raised tells that it has not looked for all.
func (b *Backend) leaseOnce(ctx context.Context, r *omniq.LeaseRequest, of bounds) (got []leased, l boundLease, raised bool, err error) {
	queue, most := r.Queues[0], r.Max
	if len(r.Limits) > 0 {
		most = min(most, r.Limits[0])
	}
	starts := min(r.Max-r.Ahead, most)
	token := rand.Int64() &^ 1
	moved := advancing{b: b}
	var took int64
	lease := stmt{sql: b.sql.of(leaseLanes), args: []any{
		queue, most, token, r.WorkerID, microseconds(r.Duration), starts, list[string](r.Names), most + moreLanes, moreTasks, r.Soon,
	}}
	if !of.laned {
		var floor [3]any
		floor[0], floor[1], floor[2], raised = b.floors.begin(r.Queues[:1])
		lease = stmt{sql: b.sql.of(leaseLimit), args: []any{
			list[string](r.Queues[:1]), most, token, r.WorkerID, microseconds(r.Duration), floor[0], floor[1], floor[2], starts, r.Soon,
		}}
	}
	lease.row = func(row scanner) error {
		var t leased
		var last int64
		err := t.scan(row, &last)
		l.known = true // also if the row was made since it was looked for: what is handed out is ours
		switch {
		case t.id == uuid.Nil:
			l.again = true
			return err
		case of.laned:
			t.place = int(last)
		default:
			took = last
		}
		got = append(got, t)
		return err
	}
	after := of.stirs
	if time.Since(of.whole) > wholeStirs {
		after, of.whole = 0, time.Now()
	}
	err = b.write(ctx, func() []stmt {
		got, l = nil, boundLease{bounds: bounds{stirs: of.stirs, whole: of.whole}}
		stmts := []stmt{
			{sql: unflushed},
			{sql: b.sql.of(lockQueue), args: []any{queue, beforeBound.Microseconds()}, row: func(row scanner) error {
				l.known = true
				return row.Scan(&l.laned, &l.stirred, &l.unbound)
			}},
			moved.advance(b.maintainer.horizon(), leaseAdvance),
		}
		if of.unbound {
			stmts = append(stmts, stmt{sql: b.sql.of(bindLeases), args: []any{queue}})
		}
		if of.laned {
			stmts = append(stmts, stmt{sql: b.sql.of(takeStirs), args: []any{queue, mostStirs, after}, row: func(row scanner) error {
				var last *int64
				err := row.Scan(&last)
				if last != nil {
					l.stirs = max(l.stirs, *last)
				}
				return err
			}}, stmt{sql: b.sql.of(reopenLanes), args: []any{queue}})
		}
		return append(stmts, lease)
	})
	if err != nil {
		return nil, l, false, err
	}
	moved.announce()
	if of.laned {
		return got, l, false, nil
	}
	b.floors.handed(got, time.Duration(took)*time.Microsecond, raised)
	if len(got) == 0 && raised {
		b.floors.drop(r.Queues[:1])
	}
	return got, l, raised, nil
}

// nextOpening is when it is worth to look again, 0 if that is not known.
func (b *Backend) nextOpening(ctx context.Context, queue string, l *boundLease) (opens time.Duration, err error) {
	err = b.search(ctx, stmt{sql: b.sql.of(nextOpening), args: []any{queue}, row: func(row scanner) error {
		var stirs bool
		var in *int64
		err := row.Scan(&stirs, &in)
		l.again = l.again || stirs
		if in != nil {
			opens = time.Duration(*in) * time.Microsecond
		}
		return err
	}})
	return opens, err
}

// divide gives a queue lanes.
func (b *Backend) divide(ctx context.Context, queue string) error {
	err := b.write(ctx, func() []stmt { return []stmt{{sql: b.sql.of(divideQueue), args: []any{queue}}} })
	if err == nil {
		of, _ := b.boundsOf(queue)
		of.laned, of.seen = true, time.Now()
		b.limited.Store(queue, of)
	}
	return err
}

// divideQueues gives the queues of tasks with lanes their rows, before the tasks are stored: in a transaction of its own, because
// that which stores them may stay open. Where it is not done, the first lease does it.
func (b *Backend) divideQueues(ctx context.Context, tasks []newTask) error {
	var queues []string
	for i := range tasks {
		t := &tasks[i]
		if t.lane == "" {
			continue
		}
		if of, _ := b.boundsOf(t.queue); time.Since(of.seen) > seenLanes && !slices.Contains(queues, t.queue) {
			queues = append(queues, t.queue)
		}
	}
	for _, q := range queues {
		if err := b.divide(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// One look for each queue.
const stirredQueues = `WITH RECURSIVE step (queue) AS (
		(SELECT queue FROM {s}.stirs WHERE queue > '' ORDER BY queue LIMIT 1)
		UNION ALL
		SELECT n.queue FROM step CROSS JOIN LATERAL (SELECT s.queue FROM {s}.stirs s WHERE s.queue > step.queue ORDER BY s.queue LIMIT 1) n)
	SELECT queue FROM step LIMIT 100`

const stirsOf = "SELECT EXISTS (SELECT FROM {s}.stirs s WHERE s.queue = $1)"

// firstStirred is the first queue that has lanes, also where nobody knows it yet: SQL may have enqueued the first task of a lane. It has a row
// in limits if the sweep has come to it meanwhile.
const firstStirred = `SELECT q.queue FROM unnest($1::text[]) WITH ORDINALITY AS q (queue, n)
	WHERE (SELECT true FROM {s}.stirs s WHERE s.queue = q.queue LIMIT 1) IS TRUE
		OR (SELECT true FROM {s}.limits l WHERE l.queue = q.queue) IS TRUE ORDER BY q.n LIMIT 1`

// sweepStirs takes the stirs of queues of which nobody leases.
func (b *Backend) sweepStirs(ctx context.Context) error {
	return b.sweepQueues(ctx, stirredQueues, func(queue string) []stmt {
		return []stmt{
			{sql: b.sql.of(divideQueue), args: []any{queue}},
			{sql: b.sql.of(lockQueue), args: []any{queue, beforeBound.Microseconds()}},
			{sql: b.sql.of(takeStirs), args: []any{queue, mostStirs, 0}},
		}
	})
}

// sweepBounds removes what is known of queues that have neither a limit nor lanes any more.
func (b *Backend) sweepBounds(ctx context.Context) error {
	return b.sweepQueues(ctx, unboundQueues, func(queue string) []stmt {
		return []stmt{
			{sql: b.sql.of(lockQueue), args: []any{queue, beforeBound.Microseconds()}},
			{sql: b.sql.of(uniteQueue), args: []any{queue}},
		}
	})
}

// sweepQueues does statements for each queue that one finds.
func (b *Backend) sweepQueues(ctx context.Context, find string, stmts func(queue string) []stmt) error {
	bound, cancel := bounded(ctx)
	defer cancel()
	var queues []string
	err := b.search(bound, stmt{sql: b.sql.of(find), row: func(row scanner) error {
		var queue string
		err := row.Scan(&queue)
		queues = append(queues, queue)
		return err
	}})
	for _, q := range queues {
		if err != nil {
			break
		}
		err = b.write(bound, func() []stmt { return append([]stmt{{sql: unflushed}}, stmts(q)...) })
	}
	return err
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
