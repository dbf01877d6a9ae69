package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// A call of which some tasks take the places or the keys of others finds out who holds the keys, locks those that it may replace, and
// then all keys: in the order in which all lock, see the package. A holder that is under way is not locked: its lease goes on, whoever
// keeps a transaction open. What it is stands when its key is locked: from then on nobody replaces it, and it loses the key if, and only
// if, this transaction commits. Where a holder that is not locked turns out to be one that can be replaced, all begins again.
//
// What becomes of the tasks, one after the other, is decided then, and written at once. All parameters are texts.

const (
	// What is under way, of a task t.
	underWay = "(t.state = 2 AND NOT coalesce(t.wake <= {now}, false) OR t.resumed IS TRUE)"

	// Who holds keys, and may be replaced. Where a transaction keeps its first snapshot, it has to lock the others, too: so it is told
	// by the database when they change.
	findReplaceable = `SELECT h.id::text FROM ` + claims + `
		CROSS JOIN LATERAL (SELECT u.id FROM {s}.unique_keys u WHERE u.name = i.name AND u.key = i.key AND u.until IS NULL OFFSET 0) u
		CROSS JOIN LATERAL (SELECT t.id FROM {s}.tasks t WHERE t.id = u.id
			AND (NOT ` + underWay + ` AND NOT coalesce(t.deadline <= {now}, false)
				OR current_setting('transaction_isolation') <> 'read committed') OFFSET 0) h`

	lockHolders = "SELECT id, task FROM {s}.tasks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"

	// Keys that nobody has are given to the first who wants them, and told. Of the others those are locked that are to be. Who is about
	// to take or to release one is waited for. Those whose time is over are first: see claimKeys.
	takeKeys = `WITH
	wants AS MATERIALIZED (
		SELECT i.*, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END AS until
		FROM json_to_recordset($1::text::json) AS i (n integer, id uuid, name text, key text, hold bigint, locks boolean)),
	over AS MATERIALIZED (
		SELECT w.n, w.id, w.until, u.at FROM (SELECT * FROM wants ORDER BY name, key OFFSET 0) w
		CROSS JOIN LATERAL (SELECT ctid AS at FROM {s}.unique_keys u
			WHERE u.name = w.name AND u.key = w.key AND coalesce(u.until <= {now}, false) FOR UPDATE) u),
	inherited AS (
		UPDATE {s}.unique_keys u SET id = o.id, until = o.until FROM over o WHERE u.ctid = o.at RETURNING o.n),
	claimed AS (
		INSERT INTO {s}.unique_keys AS u (name, key, id, until)
		SELECT w.name, w.key, w.id, w.until FROM wants w
		WHERE (w.n IN (SELECT n FROM inherited)) IS NOT TRUE
			AND (w.locks OR (SELECT true FROM {s}.unique_keys u WHERE u.name = w.name AND u.key = w.key) IS NULL)
		ORDER BY w.name, w.key
		ON CONFLICT (name, key) DO UPDATE SET id = u.id WHERE false RETURNING u.name, u.key)
	SELECT n FROM inherited
	UNION ALL SELECT w.n FROM claimed c JOIN LATERAL (SELECT w.n FROM wants w WHERE w.name = c.name AND w.key = c.key OFFSET 0) w ON true`

	// Who holds the keys now, and what is to be known of them. One whose TTL is over is not there any more, whoever makes it final.
	lookAtHolders = `SELECT i.n, u.id::text, u.until IS NOT NULL, t.id IS NOT NULL, t.state, ` + underWay + ` IS TRUE,
			t.flow IS NOT NULL OR t.manual IS TRUE, t.tie IS NOT NULL, t.attempt > 0 OR t.state = 2 OR NOT isfinite(t.since),
			CASE WHEN isfinite(t.since) THEN t.since END,
			CASE WHEN t.state BETWEEN 0 AND 1 AND t.due <= {now} THEN greatest(t.due, '0001-01-01Z'::timestamptz) END,
			t.queue, t.lane, t.bound, {now}
		FROM json_to_recordset($1::text::json) AS i (n integer, name text, key text)
		CROSS JOIN LATERAL (SELECT u.* FROM {s}.unique_keys u WHERE u.name = i.name AND u.key = i.key OFFSET 0) u
		LEFT JOIN LATERAL (SELECT t.* FROM {s}.tasks t
			WHERE t.id = u.id AND (` + underWay + ` OR NOT coalesce(t.deadline <= {now}, false)) OFFSET 0) t ON true`

	// IDs that are taken, or kept.
	takenIDs = `SELECT i.id::text FROM json_to_recordset($1::text::json) AS i (id uuid, kept boolean)
		WHERE (SELECT true FROM {s}.tasks t WHERE t.id = i.id)
			OR (SELECT true FROM {s}.results r WHERE r.id = i.id AND (r.expires IS NULL OR r.expires > {now}))
			OR CASE WHEN i.kept THEN (SELECT u.until > {now} FROM {s}.unique_keys u WHERE u.name = '' AND u.key = i.id::text) END`

	// Tasks that change their queues or their lanes leave these before, so that each of them is told.
	stepAside = `UPDATE {s}.tasks t SET state = 0 FROM json_to_recordset($1::text::json) AS i (id uuid)
		WHERE t.id = ANY (ARRAY[i.id]) AND t.state > 0`

	// Tasks that are locked, and not under way, become others. Where state and lane stay, the turn of the lane does.
	replaceTasks = `WITH
	replaced AS (
		UPDATE {s}.tasks t SET rank = i.rank, due = i.due, deadline = i.deadline, queue = i.queue, lane = i.lane, task = i.task,
			bound = CASE WHEN i.queue = i.was_queue AND i.lane IS NOT DISTINCT FROM t.lane THEN t.bound
				ELSE i.lane IS NOT NULL OR (SELECT l.laned FROM {s}.limits l WHERE l.queue = i.queue) END,
			wake = CASE WHEN i.was >= 0 AND i.due > {now} THEN i.due END,
			state = CASE WHEN i.was < 0 THEN i.was WHEN i.due <= {now} AND NOT coalesce(i.deadline <= {now}, false) THEN 1 ELSE 0 END,
			delay = CASE WHEN i.was < 0 AND i.run_at IS NULL THEN i.delay END,
			since = CASE WHEN i.fresh THEN {now} ELSE t.since END, token = NULL, started = false, attempt = 0, lost = 0,
			shunned = NULL, worker = NULL, error = NULL, progress = NULL, saved = NULL
		FROM (SELECT i.*, coalesce(i.run_at, {now} + i.delay * interval '1 microsecond') AS due,
				{now} + i.remaining * interval '1 microsecond' AS deadline
			FROM json_to_recordset($1::text::json) AS i (id uuid, rank bigint, run_at timestamptz, delay bigint, remaining bigint, queue text,
				lane text, task text, fresh boolean, was smallint, was_queue text) OFFSET 0) i
		WHERE t.id = ANY (ARRAY[i.id])
		RETURNING t.queue, t.rank, t.due, t.state, t.wake, t.deadline, t.tie, i.was, i.was_queue),
	dropped AS (DELETE FROM {s}.items s WHERE s.tie = ANY (ARRAY (SELECT tie FROM replaced WHERE tie IS NOT NULL))),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, state, sum(n) FROM (
			SELECT was_queue AS queue, was AS state, -1 AS n FROM replaced UNION ALL SELECT queue, state, 1 FROM replaced) c
		GROUP BY queue, state HAVING sum(n) <> 0)
	SELECT queue, rank, greatest(due, '0001-01-01Z'::timestamptz), state, {soon} FROM replaced`

	noteReplaced = `WITH
		replaced AS MATERIALIZED (SELECT * FROM json_to_recordset($1::text::json) AS i (n integer, id uuid, name text, queue text))
		{events:, noted AS (
			INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue) SELECT {until}, {now}, name, id, 1, 0, queue FROM replaced ORDER BY n):events}
		INSERT INTO {s}.tallies (at, what, n, us, queue, name) SELECT {now}, 1, count(*), 0, queue, name FROM replaced GROUP BY queue, name`

	// Keys that are locked get those who hold them from now on.
	assignKeys = `INSERT INTO {s}.unique_keys (name, key, id, until)
		SELECT i.name, i.key, i.id, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END FROM ` + claims + `
		ORDER BY i.name, i.key ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until`

	dropKeys = "DELETE FROM {s}.unique_keys u USING " + claims + " WHERE u.name = ANY (ARRAY[i.name]) AND u.key = ANY (ARRAY[i.key])"
)

// overtaking is what a transaction knows for a call of which some tasks take the places or the keys of others.
type overtaking struct {
	b      *Backend
	q      querier
	locked map[uuid.UUID]*living // holders that may be replaced

	keys  []*heldKey
	of    map[uniqueKey]*heldKey
	known map[uuid.UUID]bool // IDs that are taken
	now   time.Time

	stored []int // the tasks that are, by their places in the call
}

// heldKey is a unique key that tasks of the call want.
type heldKey struct {
	claim
	N     int  `json:"n"`
	Locks bool `json:"locks"` // it is locked, whoever has it

	asked  bool      // a task of the call may take it, or the place of its holder
	given  bool      // it was given to the first who wants it
	there  bool      // it is not free
	held   bool      // by a task
	holder uuid.UUID // or an earlier one
	timed  bool      // for a time
	lost   bool      // to a task of the call, which is still to be written
	place            // of the holder
}

// place is what is known of a holder.
type place struct {
	underWay bool
	fixed    bool // no other task can take its place
	own      int  // its place in the call, -1 for one that was there
	becomes  *newTask

	state  int16
	fresh  bool       // it became pending just now
	since  time.Time  // when it did
	due    *time.Time // nil if it is not due
	queue  string
	lane   string
	bound  *bool
	events []string // queues of those that took its place
}

// eventRow is a task that was enqueued.
type eventRow struct {
	N     int       `json:"n"`
	ID    uuid.UUID `json:"id"`
	Name  string    `json:"name"`
	Queue string    `json:"queue"`
}

// waits reports whether the holder waits.
func (p *place) waits() bool { return p.state == stateWaiting }

func (b *Backend) newOvertaking(q querier) *overtaking {
	return &overtaking{
		b: b, q: q, locked: make(map[uuid.UUID]*living), of: make(map[uniqueKey]*heldKey), known: make(map[uuid.UUID]bool),
	}
}

func (o *overtaking) stmt(template string, row func(scanner) error, args ...any) stmt {
	return stmt{sql: o.b.sql.of(template), args: args, row: row}
}

// find finds the tasks that are to be locked.
func (o *overtaking) find(ctx context.Context, tasks []newTask) (ids []uuid.UUID, err error) {
	var wants []claim
	for i := range tasks {
		n := &tasks[i]
		if n.unique.key == "" {
			continue
		}
		k := o.of[n.unique]
		if k == nil {
			k = &heldKey{claim: claimOf(n), N: len(o.keys)}
			o.keys, o.of[n.unique] = append(o.keys, k), k
		}
		if n.onHeld != omniq.HeldRefuse && !k.asked {
			k.asked, k.Locks = true, true
			wants = append(wants, k.claim)
		}
	}
	if len(wants) == 0 {
		return nil, nil
	}
	err = o.q.run(ctx, o.stmt(findReplaceable, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		if err == nil {
			ids = append(ids, uuid.MustParse(id))
		}
		return err
	}, jsonText(wants)))
	return ids, err
}

// lock locks tasks.
func (o *overtaking) lock(ids []uuid.UUID) []stmt {
	if len(ids) == 0 {
		return nil
	}
	return []stmt{o.stmt(lockHolders, func(row scanner) error {
		l := new(living)
		err := row.Scan((*[16]byte)(&l.id), &l.envelope)
		o.locked[l.id] = l
		return err
	}, sortedIDs(ids))}
}

// take takes the keys, and locks others with them: of tasks that end in this transaction.
func (o *overtaking) take(ends []claim) []stmt {
	for _, c := range ends {
		key := uniqueKey{c.Name, c.Key}
		if o.of[key] == nil {
			o.of[key] = &heldKey{claim: c, N: len(o.keys)}
			o.keys = append(o.keys, o.of[key])
		}
		o.of[key].Locks = true
	}
	return []stmt{o.stmt(takeKeys, func(row scanner) error {
		var n int
		err := row.Scan(&n)
		if err == nil {
			o.keys[n].given = true
		}
		return err
	}, jsonText(o.keys))}
}

// look finds out about the holders of the keys, and the IDs.
func (o *overtaking) look(tasks []newTask) []stmt {
	type idRow struct {
		ID   uuid.UUID `json:"id"`
		Kept bool      `json:"kept"`
	}
	ids := make([]idRow, len(tasks))
	for i := range tasks {
		ids[i] = idRow{tasks[i].id, tasks[i].idFor > 0}
	}
	holder := func(row scanner) error {
		var n int
		var id string
		var timed, there bool
		var state *int16
		var underWay bool
		var fixed, tied, fresh, bound *bool
		var since, due *time.Time
		var queue, lane *string
		err := row.Scan(&n, &id, &timed, &there, &state, &underWay, &fixed, &tied, &fresh, &since, &due, &queue, &lane, &bound, &o.now)
		if err != nil {
			return err
		}
		k := o.keys[n]
		k.there = true
		if k.given || k.asked && !there && !timed { // nobody has it, or one that is gone
			return nil
		}
		k.holder, k.held, k.timed = uuid.MustParse(id), true, timed
		if timed || !k.asked {
			return nil
		}
		k.place = place{underWay: underWay, own: -1, state: *state, fresh: *fresh, due: due, queue: *queue, lane: text(lane), bound: bound}
		if since != nil {
			k.since = *since
		}
		if underWay {
			return nil
		}
		l := o.locked[k.holder]
		if l == nil {
			return errMoved
		}
		k.fixed = *fixed || *tied && taskOf(k.holder, l.envelope).Tied()
		return nil
	}
	return []stmt{
		o.stmt("SELECT {now}", func(row scanner) error { return row.Scan(&o.now) }),
		o.stmt(lookAtHolders, holder, jsonText(o.keys)),
		o.stmt(takenIDs, func(row scanner) error {
			var id string
			err := row.Scan(&id)
			if err == nil {
				o.known[uuid.MustParse(id)] = true
			}
			return err
		}, jsonText(ids)),
	}
}

// decide says what becomes of the tasks of the call, one after the other.
func (o *overtaking) decide(tasks []newTask, errs []error) {
	for i := range tasks {
		n := &tasks[i]
		k := o.of[n.unique]
		switch {
		case o.known[n.id]:
			errs[i] = omniq.Duplicate{ID: n.id, Holder: n.id}
			continue
		case k == nil:
		case !k.held:
			o.hold(k, n, i)
		case n.onHeld == omniq.HeldRefuse || k.timed || k.fixed:
			errs[i] = omniq.Duplicate{ID: n.id, Holder: k.holder}
			continue
		case k.underWay:
			if n.onHeld == omniq.HeldBehind {
				n.waits, n.after = true, []omniq.Dependency{{ID: k.holder, Need: omniq.NeedFinal}}
			}
			o.hold(k, n, i)
		default:
			errs[i] = omniq.Duplicate{ID: n.id, Holder: k.holder, Replaced: true}
			k.replace(n, o.now)
			continue
		}
		o.stored, o.known[n.id] = append(o.stored, i), true
	}
	for _, k := range o.keys {
		if k.becomes != nil && k.own >= 0 {
			tasks[k.own] = *k.becomes
		}
	}
}

// hold gives a task of the call a key.
func (o *overtaking) hold(k *heldKey, n *newTask, i int) {
	c := claimOf(n)
	k.held, k.holder, k.timed, k.lost = true, n.id, n.uniqueFor > 0, !k.given || k.claim != c
	k.claim = c
	k.place = place{fixed: n.onHeld == omniq.HeldRefuse && n.tied(), own: i, since: o.now, queue: n.queue}
	if n.waits {
		k.state = stateWaiting
	}
	if due := n.due(o.now); !due.After(o.now) {
		k.due = &due
	}
	k.becomes = n
}

// due is when the task is due as a new one.
func (n *newTask) due(now time.Time) time.Time {
	if n.runAt.IsZero() {
		return now.Add(n.delay)
	}
	return n.runAt
}

// replace lets a task take the place of the holder.
func (p *heldKey) replace(by *newTask, now time.Time) {
	n := *by
	if p.own >= 0 {
		was := p.becomes
		n.place, n.after, n.waits, n.followed = was.place, was.after, was.waits, was.followed
		p.events = append(p.events, was.queue)
	} else if p.becomes != nil {
		p.events = append(p.events, p.becomes.queue)
	}
	n.envelope, n.id = by.as(p.holder), p.holder
	if !p.waits() {
		due := by.due(now)
		since := p.since
		if p.fresh {
			since = now
		}
		if latest := since.Add(by.within); by.within > 0 && due.After(latest) {
			due = latest
		}
		if !due.After(now) && p.due != nil && p.due.Before(due) {
			due = *p.due // its place in line
		}
		n.runAt, p.due = due, nil
		if !due.After(now) {
			p.due = &due
		}
	}
	p.becomes = &n
}

// as is the envelope of a task under the ID of another.
func (n *newTask) as(id uuid.UUID) string {
	const before = `{"id":"`
	return before + id.String() + n.envelope[len(before)+len(uuid.Nil.String()):]
}

// replacing is a task that takes the place of another, as it is sent.
type replacing struct {
	ID        uuid.UUID  `json:"id"`
	Rank      int64      `json:"rank"`
	RunAt     *time.Time `json:"run_at"`
	Delay     int64      `json:"delay"`
	Remaining *int64     `json:"remaining"`
	Queue     string     `json:"queue"`
	Lane      *string    `json:"lane"`
	Task      string     `json:"task"`
	Fresh     bool       `json:"fresh"`
	Was       int16      `json:"was"`
	WasQueue  string     `json:"was_queue"`
}

// replace lets the tasks that were there become others.
func (o *overtaking) replace(e *enqueuing) (stmts []stmt) {
	var rows []replacing
	var aside []claim
	var events []eventRow
	for _, k := range o.keys {
		n := k.becomes
		for _, q := range k.events {
			events = append(events, eventRow{len(events), k.holder, k.Name, q})
		}
		if n == nil || k.own >= 0 {
			continue
		}
		events = append(events, eventRow{len(events), k.holder, k.Name, n.queue})
		r := replacing{
			ID: k.holder, Rank: n.rank, RunAt: unlessZero(n.runAt), Delay: microseconds(n.delay), Queue: n.queue, Lane: unlessZero(n.lane),
			Task: n.envelope, Fresh: k.fresh, Was: k.state, WasQueue: k.queue,
		}
		if n.remaining.Valid {
			r.Remaining = &n.remaining.Int64
		}
		rows = append(rows, r)
		if k.state > 0 && (k.queue != n.queue || k.lane != n.lane) {
			aside = append(aside, claim{ID: k.holder})
		}
		if k.state == stateRunning && k.bound != nil {
			e.queues[k.queue] = true // its limit may permit more
		}
	}
	if len(aside) > 0 {
		stmts = append(stmts, o.stmt(stepAside, nil, jsonText(aside)))
	}
	if len(rows) > 0 {
		stmts = append(stmts, o.stmt(replaceTasks, func(row scanner) error {
			var queue string
			var rank int64
			var due time.Time
			var state int16
			var soon *int64
			err := row.Scan(&queue, &rank, &due, &state, &soon)
			if state == stateReady {
				o.b.floors.ready(queue, rank, due)
				e.queues[queue] = true
			}
			e.next.add(soon)
			return err
		}, jsonText(rows)))
	}
	if len(events) > 0 {
		stmts = append(stmts, o.stmt(noteReplaced, nil, jsonText(events)))
	}
	return stmts
}

// store stores the new tasks. Their keys are locked.
func (o *overtaking) store(e *enqueuing) (stmts []stmt) {
	for places := range slices.Chunk(o.stored, maxPlaces) {
		tasks := make([]newTask, len(places))
		var kept []claim
		for i, place := range places {
			tasks[i] = e.tasks[place]
			if n := &tasks[i]; n.idFor > 0 {
				kept = append(kept, claim{ID: n.id, Key: n.id.String(), Hold: microseconds(n.idFor)})
			}
		}
		stmts = append(stmts, e.insert(tasks, false)...)
		if len(kept) > 0 {
			stmts = append(stmts, o.stmt(renewKeys, nil, jsonText(kept)))
		}
	}
	return stmts
}

// assign gives the keys to the new tasks.
func (o *overtaking) assign() (stmts []stmt) {
	var assigned, dropped []claim
	for _, k := range o.keys {
		switch {
		case k.lost:
			assigned = append(assigned, k.claim)
		case k.given && !k.held: // who wanted it was left out for another reason
			dropped = append(dropped, k.claim)
		}
	}
	if len(assigned) > 0 {
		stmts = append(stmts, o.stmt(assignKeys, nil, jsonText(assigned)))
	}
	if len(dropped) > 0 {
		stmts = append(stmts, o.stmt(dropKeys, nil, jsonText(dropped)))
	}
	return stmts
}

// overtake stores the tasks of a call, or lets them take the places of others.
func (e *enqueuing) overtake(ctx context.Context, t *tying) error {
	o := t.overtaking
	var stmts []stmt
	if o == nil {
		o = e.b.newOvertaking(t.q)
		t.overtaking = o
		ids, err := o.find(ctx, e.tasks)
		if err != nil {
			return err
		}
		stmts = append(o.lock(ids), o.take(nil)...)
	}
	if err := o.q.run(ctx, append(stmts, o.look(e.tasks)...)...); err != nil {
		return err
	}
	if slices.ContainsFunc(o.keys, func(k *heldKey) bool { return !k.there && !k.Locks }) {
		return errMoved // it was freed meanwhile: to take it now could be against the order in which all lock
	}
	e.begin()
	o.decide(e.tasks, e.errs)
	var err error
	replaced, stored, assigned := o.replace(e), o.store(e), o.assign()
	if e.plain { // what stores is sent as it is
		if err = o.q.run(ctx, replaced...); err == nil {
			err = t.store.run(ctx, stored...)
		}
		if err == nil {
			err = o.q.run(ctx, assigned...)
		}
	} else {
		err = o.q.run(ctx, slices.Concat(replaced, stored, assigned)...)
	}
	if err != nil {
		return err
	}
	if slices.Contains(e.errs, errNotStored) {
		return errMoved // somebody else was first with an ID
	}
	return nil
}

// keysOf are the unique keys that tasks may hold until they are final.
func keysOf(found map[uuid.UUID]*living, ids []uuid.UUID) (keys []claim) {
	for _, id := range ids {
		if l := found[id]; l != nil {
			if t := taskOf(id, l.envelope); t.UniqueKey != "" && t.UniqueFor == 0 {
				keys = append(keys, claim{ID: id, Name: t.FuncName, Key: t.UniqueKey})
			}
		}
	}
	return keys
}
