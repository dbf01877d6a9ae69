package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// newTask is what is stored of a task.
type newTask struct {
	place     int // in the call
	id        uuid.UUID
	queue     string
	rank      int64 // see the table
	runAt     time.Time
	delay     time.Duration
	remaining pgtype.Int8 // microseconds of its TTL; NULL without one
	unique    uniqueKey   // its key is empty for none
	uniqueFor time.Duration
	idFor     time.Duration
	envelope  string
	lane      string
	onHeld    omniq.OnHeld
	within    time.Duration // see [omniq.RawTask].ReplaceWithin

	// See the table. Waits is for one that has dependencies, or is manual.
	flow     uuid.UUID
	waits    bool
	manual   bool
	after    []omniq.Dependency
	followed int16
	tie      int64       // of its earlier lives; 0 for none
	saved    pgtype.Text // what they have left
}

// tied reports whether the task has something to do with others.
func (n *newTask) tied() bool { return n.flow != uuid.Nil || n.waits }

func encode(t *omniq.RawTask) (n newTask, err error) {
	buf, err := t.AppendJSON(make([]byte, 0, 256+len(t.Args)+len(t.Kwargs)))
	if err != nil {
		return n, fmt.Errorf("%w: postgres: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	n = newTask{
		id: t.ID, queue: cmp.Or(t.Queue, omniq.DefaultQueue), rank: ^int64(t.Priority),
		unique: uniqueKey{t.FuncName, t.UniqueKey}, uniqueFor: t.UniqueFor, idFor: t.IDFor, delay: t.Delay,
		envelope: string(buf), lane: t.Lane, flow: t.Flow, waits: len(t.After) > 0 || t.Manual, manual: t.Manual, after: t.After,
		onHeld: t.OnHeld, within: t.ReplaceWithin,
	}
	if !t.RunAt.IsZero() {
		n.runAt = micros(t.RunAt)
	}
	if left, ok := t.Remaining(); ok {
		n.remaining = pgtype.Int8{Int64: microseconds(left), Valid: true}
	}
	return n, nil
}

// enqueuing is one call of Enqueue.
type enqueuing struct {
	b     *Backend
	tasks []newTask // in the order of the call
	plain bool      // only parameters that each driver can send: texts
	tied  bool      // some have to do with others: all are stored in one transaction

	overtakes bool      // some take the places or the keys of others
	brought   []newTask // as they were brought: what they become is decided anew in each transaction

	errs    []error                 // nil as long as all went well
	holders map[uuid.UUID]uuid.UUID // of the unique keys that others have, by the ID of who wanted them
	queues  map[string]bool         // of the tasks that are stored
	next    coming                  // when something happens to one of them by itself
}

func (b *Backend) newEnqueuing(tasks []*omniq.RawTask) (*enqueuing, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	e := &enqueuing{b: b, tasks: make([]newTask, len(tasks))}
	for i, t := range tasks {
		n, err := encode(t)
		if err != nil {
			return nil, err
		}
		n.place = i
		e.tasks[i], e.tied = n, e.tied || n.tied()
		e.overtakes = e.overtakes || n.onHeld != omniq.HeldRefuse
	}
	if e.overtakes {
		e.tied, e.brought = true, e.tasks
	}
	return e, nil
}

// Enqueue stores tasks, all or none: see [omniq.TaskQueue]. It waits for the transactions of others that are enqueuing one
// of the IDs or unique keys, as long as ctx does not end; of a call that is shared it does not, see [batch.Shared].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	e, err := b.newEnqueuing(tasks)
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, b.alive(ctx)
	}
	if err := b.divideQueues(ctx, e.tasks); err != nil {
		return nil, err
	}
	if e.tied {
		return b.enqueueTied(ctx, e)
	}
	if err := e.run(func(stmts func() []stmt) error { return b.write(ctx, stmts) }); err != nil {
		return nil, err
	}
	e.announce()
	return e.result(), nil
}

// enqueueTied stores tasks that are tied to others.
func (b *Backend) enqueueTied(ctx context.Context, e *enqueuing) ([]error, error) {
	var t *tying
	err := b.transact(ctx, func(q querier) error {
		t = newTying(b, q)
		return e.tie(ctx, t, uuid.Nil)
	})
	if err != nil {
		return nil, err
	}
	e.announce()
	t.ready.announce()
	if t.checks {
		b.follow(ctx)
	}
	return e.result(), nil
}

// announce tells those who wait for tasks.
func (e *enqueuing) announce() {
	topics := make([]topic, 0, len(e.queues)+1)
	for q := range e.queues {
		topics = append(topics, queueTopic(q))
	}
	if e.b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	e.b.tell(topics...)
	e.next.poke(e.b.maintainer)
}

// maxPlaces is how many tasks a statement may store, see task_order.
const maxPlaces = 65536

// begin forgets what a transaction did that was undone.
func (e *enqueuing) begin() {
	e.errs, e.queues, e.next = make([]error, len(e.tasks)), make(map[string]bool), coming{}
	e.holders = make(map[uuid.UUID]uuid.UUID)
}

// run stores tasks in waves: in each there is no ID and no unique key twice, so that what comes later in the call sees what
// became of what comes before it. There is a second wave only for what the first leaves open: the one before, with the same
// ID or key, was refused for its other one, or who held a key has gone meanwhile. If that fails, it is what these tasks have
// for an error.
func (e *enqueuing) run(write func(stmts func() []stmt) error) error {
	e.begin()
	known, held := make(map[uuid.UUID]bool), make(map[uniqueKey]uuid.UUID)
	first := true
	for left := e.tasks; len(left) > 0; {
		var wave []newTask
		wave, left = e.wave(left, known, held)
		if len(wave) == 0 {
			continue
		}
		err := write(func() []stmt { return append(e.insert(wave, true), e.findHolders(wave)...) })
		switch {
		case err != nil && (first || e.plain || e.tied):
			return err
		case err != nil:
			for _, n := range append(wave, left...) {
				e.errs[n.place] = err
			}
			return nil
		}
		first = false
		for i := range wave {
			n := &wave[i]
			holder, refused := e.holders[n.id]
			if refused && holder == uuid.Nil {
				e.errs[n.place] = nil
				left = append(left, *n)
				continue
			}
			if !refused {
				known[n.id] = true
				holder = n.id
			}
			if refused || e.errs[n.place] == nil {
				held[n.unique] = holder
			}
		}
		e.compare(wave)
	}
	return nil
}

// wave returns tasks without an ID or a key twice, and the rest; not those whose fate is known by the tasks that are there
// and the keys that are held.
func (e *enqueuing) wave(left []newTask, known map[uuid.UUID]bool, held map[uniqueKey]uuid.UUID) (wave, rest []newTask) {
	ids, keys := make(map[uuid.UUID]bool, len(left)), make(map[uniqueKey]bool)
	for _, n := range left {
		keyed := n.unique.key != ""
		holder, taken := held[n.unique]
		switch {
		case known[n.id]:
			e.errs[n.place] = omniq.Duplicate{ID: n.id, Holder: n.id}
			continue
		case keyed && taken:
			e.errs[n.place] = omniq.Duplicate{ID: n.id, Holder: holder}
			continue
		case ids[n.id], keyed && keys[n.unique], len(wave) == maxPlaces:
			rest = append(rest, n)
		default:
			wave = append(wave, n)
			delete(e.holders, n.id)
		}
		ids[n.id] = true
		if keyed {
			keys[n.unique] = true
		}
	}
	return wave, rest
}

// result is one error for each task, or nil.
func (e *enqueuing) result() []error {
	if !slices.ContainsFunc(e.errs, func(err error) bool { return err != nil }) {
		return nil
	}
	return e.errs
}

// errNotStored is the error of a task until the database says that it is stored.
var errNotStored = errors.New("postgres: not stored")

// compare reports those of the tasks that were not stored.
func (e *enqueuing) compare(tasks []newTask) {
	for i := range tasks {
		if t := &tasks[i]; errors.Is(e.errs[t.place], errNotStored) {
			holder, refused := e.holders[t.id]
			if !refused {
				holder = t.id
			}
			e.errs[t.place] = omniq.Duplicate{ID: t.id, Holder: holder}
		}
	}
}

const (
	insertTasks      = insertFrom + arraysOfTasks + insertInput + insertInto + "WHERE NOT taken" + insertThen + insertEnd
	insertTasksPlain = insertFrom + jsonOfTasks + insertInput + insertInto + "WHERE NOT taken" + insertThen + insertEnd
	insertKeyed      = insertFrom + arraysOfTasks + insertInput + insertClaims + insertThen + insertIDs + insertEnd + insertCheck
	insertKeyedPlain = insertFrom + jsonOfTasks + insertInput + insertClaims + insertThen + insertIDs + insertEnd + insertCheck

	arraysOfTasks = `unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::text[],
			$8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::text[])
			AS i (id, place, rank, run_at, delay, remaining, name, queue, unique_key, hold, id_for, task, lane)`
	jsonOfTasks = `json_to_recordset($1::text::json) AS i (id uuid, place bigint, rank bigint, run_at timestamptz,
			delay bigint, remaining bigint, name text, queue text, unique_key text, hold bigint, id_for bigint, task text, lane text)`

	// A place is that of the task in the call. Nothing that is there is locked: not a task that somebody is about to
	// settle, nor a key that somebody holds, because this transaction may be a caller's and stay open. A result whose time
	// is over, of an earlier life, gives way.
	insertFrom = `WITH
	input AS MATERIALIZED (
		SELECT i.*, coalesce(i.run_at, {now} + i.delay * interval '1 microsecond') AS due,
			{now} + i.remaining * interval '1 microsecond' AS deadline,
			t.id IS NOT NULL OR coalesce(r.expires > {now}, r.id IS NOT NULL) OR CASE WHEN i.id_for > 0 THEN (
				SELECT u.until > {now} FROM {s}.unique_keys u WHERE u.name = '' AND u.key = i.id::text) IS TRUE ELSE false END AS taken,
			coalesce(r.expires <= {now}, false) AS dead
		FROM `
	insertInput = `
		LEFT JOIN LATERAL (SELECT t.id FROM {s}.tasks t WHERE t.id = i.id OFFSET 0) t ON true
		LEFT JOIN LATERAL (SELECT r.id, r.expires FROM {s}.results r WHERE r.id = i.id OFFSET 0) r ON true),
	number AS MATERIALIZED (SELECT nextval('{s}.task_order') AS n),
	dead AS MATERIALIZED (
		SELECT r.at, i.id FROM (SELECT id FROM input WHERE dead AND NOT taken ORDER BY id OFFSET 0) i
		CROSS JOIN LATERAL (SELECT ctid AS at FROM {s}.results r WHERE r.id = i.id FOR UPDATE) r)`
	insertInto = `,
	stored AS (
		INSERT INTO {s}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, unique_key, lane, bound, task)
		SELECT id, (SELECT n FROM number) * 65536 + place, rank, due, deadline,
			CASE WHEN due > {now} THEN due END, {now},
			CASE WHEN due <= {now} AND (deadline IS NULL OR deadline > {now}) THEN 1 ELSE 0 END,
			0, name, queue, unique_key, lane, lane IS NOT NULL OR (SELECT l.laned FROM {s}.limits l WHERE l.queue = input.queue), task
		FROM input `
	insertClaims = `,
	wants AS MATERIALIZED (
		SELECT id, name, unique_key AS key, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END AS until
		FROM input WHERE NOT taken AND unique_key IS NOT NULL AND (SELECT count(*) FROM dead) >= 0),
	` + claimKeys + insertInto + `WHERE NOT taken AND (unique_key IS NULL OR id IN (SELECT id FROM mine))`

	// An ID that is kept is held as a key of no name. Who stores a task with it is alone.
	insertIDs = `,
	ids AS (
		INSERT INTO {s}.unique_keys AS u (name, key, id, until)
		SELECT '', i.id::text, i.id, {now} + i.id_for * interval '1 microsecond'
		FROM input i WHERE i.id_for > 0 AND (i.id IN (SELECT id FROM stored)) IS TRUE ORDER BY i.id
		ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE u.until <= {now} RETURNING id)`
	insertThen = ` AND (SELECT count(*) FROM dead) >= 0 ORDER BY id
		ON CONFLICT (id) DO NOTHING RETURNING id, seq, name, queue, state, wake, deadline, unique_key),
	removed AS (
		DELETE FROM {s}.results WHERE ctid = ANY (ARRAY (SELECT at FROM dead WHERE id IN (SELECT id FROM stored)))
		RETURNING queue, status, tie),
	untied AS (INSERT INTO {s}.work (kind, tie) SELECT 2, tie FROM removed WHERE tie IS NOT NULL),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, state, count(*) FROM stored GROUP BY queue, state
		UNION ALL SELECT queue, status, -count(*) FROM removed GROUP BY queue, status),
	tallied AS (
		INSERT INTO {s}.tallies (at, what, n, us, queue, name) SELECT {now}, 1, count(*), 0, queue, name FROM stored GROUP BY queue, name)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue)
		SELECT {until}, {now}, name, id, 1, 0, queue FROM stored ORDER BY seq):events}`
	insertEnd = `
	SELECT seq & 65535, {soon} FROM stored`

	// Who has got a key and then lost the race for its ID, or the other way round, must not keep it: all is undone, by a
	// division by zero, and done again, when the other task with the ID is seen before.
	insertCheck = ` RIGHT JOIN (SELECT 1 / CASE WHEN (SELECT count(*) FROM mine) > (SELECT count(unique_key) FROM stored)
			OR (SELECT count(*) FROM ids) < (SELECT count(*) FROM input i WHERE i.id_for > 0 AND (i.id IN (SELECT id FROM stored)) IS TRUE)
		THEN 0 ELSE 1 END AS one) c ON c.one = 1`
)

// asTied are changes of statements that store tasks, for those that are tied to others.
var asTied = strings.NewReplacer(
	"$13::text[])", "$13::text[], $14::uuid[], $15::boolean[], $16::boolean[], $17::smallint[], $18::bigint[], $19::text[])",
	"id_for, task, lane)", "id_for, task, lane, flow, waits, manual, followed, tie, saved)",
	"task text, lane text)", "task text, lane text, flow uuid, waits boolean, manual boolean, followed smallint, tie bigint, saved text)",
	"unique_key, lane, bound, task)\n\t\tSELECT", "unique_key, lane, bound, task, flow, manual, followed, saved, tie, delay, open)\n\t\tSELECT",
	"CASE WHEN due > {now} THEN due END, {now}", "CASE WHEN NOT waits AND due > {now} THEN due END, {now}",
	"CASE WHEN due <= {now} AND", "CASE WHEN waits THEN -1 WHEN due <= {now} AND",
	"WHERE l.queue = input.queue), task\n", `WHERE l.queue = input.queue), task,
			flow, CASE WHEN manual THEN true END, nullif(followed, 0), saved,
			CASE WHEN tie <> 0 THEN tie WHEN waits THEN (SELECT n FROM number) * 65536 + place END,
			CASE WHEN waits AND run_at IS NULL THEN delay END, CASE WHEN waits THEN 0 END`+"\n",
)

var (
	insertTied          = asTied.Replace(insertKeyed)
	insertTiedPlain     = asTied.Replace(insertKeyedPlain)
	insertTiedFree      = asTied.Replace(insertTasks) // for those that have no keys, or hold them already
	insertTiedPlainFree = asTied.Replace(insertTasksPlain)
)

// asLaned are changes of statements that store tasks, for those of which some have lanes: what the tasks of a lane add to stirs is one row.
var asLaned = strings.NewReplacer(
	"lane, bound, task", "lane, bound, told, task",
	"WHERE l.queue = input.queue), task", "WHERE l.queue = input.queue), CASE WHEN lane IS NOT NULL THEN true END, task",
	"RETURNING id, seq, name,", "RETURNING lane, told, id, seq, name,",
	"	removed AS (", `	stirred AS (
		INSERT INTO {s}.stirs (id, queue, lane, n)
		SELECT min(seq), queue, lane, count(*) FROM stored WHERE told AND state = 1 GROUP BY queue, lane),
	removed AS (`,
)

// lanedOf is a statement that stores tasks, as it is where some of them have lanes.
var lanedOf = func() map[string]string {
	laned := make(map[string]string)
	for _, s := range []string{
		insertTasks, insertTasksPlain, insertKeyed, insertKeyedPlain, insertTied, insertTiedPlain, insertTiedFree, insertTiedPlainFree,
	} {
		laned[s] = asLaned.Replace(s)
	}
	return laned
}()

// template is the statement that stores tasks.
func (e *enqueuing) template(tasks []newTask, keyed bool) string {
	var s string
	switch {
	case e.tied && keyed && e.plain:
		s = insertTiedPlain
	case e.tied && keyed:
		s = insertTied
	case e.tied && e.plain:
		s = insertTiedPlainFree
	case e.tied:
		s = insertTiedFree
	case keyed && e.plain:
		s = insertKeyedPlain
	case keyed:
		s = insertKeyed
	case e.plain:
		s = insertTasksPlain
	default:
		s = insertTasks
	}
	if slices.ContainsFunc(tasks, func(t newTask) bool { return t.lane != "" }) {
		s = lanedOf[s]
	}
	return s
}

// insert stores tasks that have different IDs. With claims it gives them their unique keys, which are different, too;
// without, they hold them.
func (e *enqueuing) insert(tasks []newTask, claims bool) []stmt {
	order := make([]int, len(tasks)) // by the IDs, see the locks of this package
	keyed := false
	for i := range order {
		order[i] = i
		e.errs[tasks[i].place] = errNotStored
		keyed = keyed || claims && (tasks[i].unique.key != "" || tasks[i].idFor > 0)
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(tasks[a].id[:], tasks[b].id[:]) })
	stored := func(row scanner) error {
		var place *int
		var soon *int64
		if err := row.Scan(&place, &soon); err != nil || place == nil {
			return err
		}
		t := &tasks[*place]
		e.b.floors.ready(t.queue, t.rank, t.runAt)
		e.errs[t.place] = nil
		e.queues[t.queue] = true
		e.next.add(soon)
		return nil
	}
	if e.plain {
		return []stmt{{sql: e.b.sql.of(e.template(tasks, keyed)), args: []any{e.plainRows(tasks, order)}, row: stored}}
	}
	n := len(tasks)
	ids, places, ranks := make(list[pgtype.UUID], n), make(list[int64], n), make(list[int64], n)
	runAts, delays, lefts := make(list[pgtype.Timestamptz], n), make(list[int64], n), make(list[pgtype.Int8], n)
	names, queues := make(list[string], n), make(list[string], n)
	keys, holds, idFors := make(list[pgtype.Text], n), make(list[int64], n), make(list[int64], n)
	envelopes, lanes := make(list[string], n), make(list[pgtype.Text], n)
	for i, place := range order {
		t := &tasks[place]
		ids[i], places[i], ranks[i] = uuidOf(t.id), int64(place), t.rank
		runAts[i], delays[i], lefts[i] = timeOf(t.runAt), microseconds(t.delay), t.remaining
		names[i], queues[i], keys[i], envelopes[i] = t.unique.name, t.queue, textOf(t.unique.key), t.envelope
		lanes[i] = textOf(t.lane)
		holds[i], idFors[i] = microseconds(t.uniqueFor), microseconds(t.idFor)
	}
	args := []any{ids, places, ranks, runAts, delays, lefts, names, queues, keys, holds, idFors, envelopes, lanes}
	if e.tied {
		args = append(args, tiesOf(tasks, order)...)
	}
	return []stmt{{sql: e.b.sql.of(e.template(tasks, keyed)), args: args, row: stored}}
}

// tiesOf are the parameters that only statements for tied tasks have.
func tiesOf(tasks []newTask, order []int) []any {
	n := len(order)
	flows, waits, manuals := make(list[pgtype.UUID], n), make(list[bool], n), make(list[bool], n)
	followed, ties, saved := make(list[int16], n), make(list[int64], n), make(list[pgtype.Text], n)
	for i, place := range order {
		t := &tasks[place]
		flows[i] = pgtype.UUID{Bytes: t.flow, Valid: t.flow != uuid.Nil}
		waits[i], manuals[i], followed[i], ties[i], saved[i] = t.waits, t.manual, t.followed, t.tie, t.saved
	}
	return []any{flows, waits, manuals, followed, ties, saved}
}

// tiedRow are the parameters that only statements for tied tasks have.
type tiedRow struct {
	Flow     *uuid.UUID `json:"flow"`
	Waits    bool       `json:"waits"`
	Manual   bool       `json:"manual"`
	Followed int16      `json:"followed"`
	Tie      int64      `json:"tie"`
}

// plainRows are tasks as a text, for drivers that send nothing else.
func (e *enqueuing) plainRows(tasks []newTask, order []int) string {
	type row struct {
		ID        uuid.UUID  `json:"id"`
		Place     int        `json:"place"`
		Rank      int64      `json:"rank"`
		RunAt     *time.Time `json:"run_at"`
		Delay     int64      `json:"delay"`
		Remaining *int64     `json:"remaining"`
		Name      string     `json:"name"`
		Queue     string     `json:"queue"`
		UniqueKey *string    `json:"unique_key"`
		Hold      int64      `json:"hold"`
		IDFor     int64      `json:"id_for"`
		Task      string     `json:"task"`
		Lane      *string    `json:"lane"`
		*tiedRow
	}
	rows := make([]row, len(order))
	for i, place := range order {
		t := &tasks[place]
		rows[i] = row{
			t.id, place, t.rank, unlessZero(t.runAt), microseconds(t.delay), nil, t.unique.name, t.queue,
			unlessZero(t.unique.key), microseconds(t.uniqueFor), microseconds(t.idFor), t.envelope, unlessZero(t.lane), nil,
		}
		if e.tied {
			rows[i].tiedRow = &tiedRow{unlessZero(t.flow), t.waits, t.manual, t.followed, t.tie}
		}
		if t.remaining.Valid {
			rows[i].Remaining = &t.remaining.Int64
		}
	}
	return jsonText(rows)
}

// unlessZero points to a value, unless it is the zero one, which is NULL.
func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// jsonText is for values that JSON can always hold.
func jsonText(v any) string {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return buf.String()
}

// timeOf is a time, or NULL for the zero one.
func timeOf(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }
