package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	lockResults = `SELECT id, status, task, coalesce(tie, 0), coalesce(followed, 0), saved, {now} FROM {s}.results
		WHERE id = ANY ($1) AND (expires IS NULL OR expires > {clock}) ORDER BY id FOR UPDATE`

	// Tasks, and those that have ended by not having what they need of them, and so on.
	findBlocked = `WITH RECURSIVE f (id) AS (
			SELECT i.id FROM unnest($1::uuid[]) AS i (id)
			UNION
			SELECT r.id FROM f CROSS JOIN LATERAL (SELECT e.task, e.tie FROM {s}.edges e
				WHERE e.dep = f.id AND e.need = 0 OFFSET 0) e
			CROSS JOIN LATERAL (SELECT r.id FROM {s}.results r WHERE r.id = e.task AND r.tie = e.tie AND r.blocked
				AND (r.expires IS NULL OR r.expires > {now}) OFFSET 0) r)
		SELECT id FROM f`

	// What tasks wait for when they are requeued, and what has become of that: 0 for what is not final, NULL for what is gone.
	edgesOf = `SELECT e.task, e.passed, e.n, e.dep, e.need, e.input, e.met IS TRUE,
			CASE WHEN (SELECT true FROM {s}.tasks t WHERE t.id = e.dep) THEN 0 ELSE (SELECT r.status FROM {s}.results r WHERE r.id = e.dep) END
		FROM unnest($1::bigint[]) AS i (tie) CROSS JOIN LATERAL (
			SELECT * FROM {s}.edges e WHERE e.tie = i.tie ORDER BY e.n OFFSET 0) e`

	// Tasks whose results others go on with, that have not ended.
	usersOf = `SELECT i.id, u.id, u.state FROM unnest($1::uuid[]) AS i (id) CROSS JOIN LATERAL (
		SELECT t.id, t.state FROM (SELECT e.task, e.tie, e.passed FROM {s}.edges e
			WHERE e.dep = i.id AND e.input AND e.met IS NOT NULL OFFSET 0) e
		CROSS JOIN LATERAL (SELECT * FROM {s}.tasks t WHERE t.id = e.task AND t.tie = e.tie AND e.passed = (t.resumed IS TRUE) OFFSET 0) t
		LIMIT 1) u`

	reopenEdges = `UPDATE {s}.edges e SET met = CASE WHEN i.met THEN true END FROM unnest($1::bigint[], $2::integer[], $3::boolean[]) AS i (tie, n, met)
		WHERE e.tie = ANY (ARRAY[i.tie]) AND NOT e.passed AND e.n = ANY (ARRAY[i.n])`
	dropPassed = "DELETE FROM {s}.edges e WHERE e.tie = ANY ($1) AND e.passed"
	dropItems  = "DELETE FROM {s}.items s WHERE s.tie = ANY ($1)"
)

// dead is a task that is final, and whose result is locked.
type dead struct {
	status   omniq.Status
	envelope *string // nil for one that is not kept
	tie      int64   // 0 for none
	followed int16
	saved    *string
	now      time.Time
}

// lockFinal locks tasks, those that are final as well. It fails with errMoved.
func (b *Backend) lockFinal(ctx context.Context, q querier, ids []uuid.UUID) (map[uuid.UUID]*living, map[uuid.UUID]*dead, error) {
	living, _, err := b.lock(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[uuid.UUID]*dead)
	err = q.run(ctx, stmt{sql: b.sql.of(lockResults), args: []any{sortedIDs(ids)}, row: func(row scanner) error {
		var id uuid.UUID
		var status int16
		d := new(dead)
		err := row.Scan((*[16]byte)(&id), &status, &d.envelope, &d.tie, &d.followed, &d.saved, &d.now)
		d.status = omniq.Status(status)
		found[id] = d
		return err
	}})
	if err != nil {
		return nil, nil, err
	}
	return living, found, b.known(ctx, q, ids, func(id uuid.UUID) bool { return living[id] != nil || found[id] != nil })
}

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue].
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	var r *requeuing
	held := make(map[uuid.UUID]uuid.UUID)
	err := b.transact(ctx, func(q querier) (err error) {
		r = &requeuing{b: b, q: q, ids: ids, held: held}
		return r.run(ctx, follow)
	})
	if err != nil {
		return nil, err
	}
	if len(r.e.tasks) > 0 {
		r.e.announce()
	}
	if r.checks {
		b.follow(ctx)
	}
	return r.errs, nil
}

// requeuing is one transaction of Requeue.
type requeuing struct {
	b    *Backend
	q    querier
	ids  []uuid.UUID             // that were asked for
	held map[uuid.UUID]uuid.UUID // tasks whose keys others hold, and who: found by transactions before

	errs   []error
	places map[uuid.UUID]int // of the first time that it is asked for
	e      *enqueuing
	again  map[uuid.UUID]*revived // tasks that are to begin a new life
	checks bool
}

// revived is a task that begins a new life.
type revived struct {
	newTask
	*dead
	edges []fatedEdge
	leads []uuid.UUID // what it needed, or needed last, in its life before
	used  error       // others go on with its result
}

// fatedEdge is an edge, and what has become of its dependency.
type fatedEdge struct {
	edge
	status *int16 // 0: it is not final; nil: nothing is kept of it
	closed bool   // it was met once
}

func (r *requeuing) report(id uuid.UUID, err error) {
	if i, asked := r.places[id]; asked {
		r.errs = engine.Report(r.errs, len(r.ids), i, err)
	}
}

func (r *requeuing) run(ctx context.Context, follow bool) error {
	r.e, r.places, r.again = &enqueuing{b: r.b}, make(map[uuid.UUID]int), make(map[uuid.UUID]*revived)
	r.e.begin()
	all := r.ids
	if follow && len(all) > 0 {
		blocked := make(map[uuid.UUID]bool)
		err := r.q.run(ctx, stmt{sql: r.b.sql.of(findBlocked), args: []any{sortedIDs(r.ids)}, row: idInto(blocked)})
		if err != nil {
			return err
		}
		for _, id := range r.ids {
			delete(blocked, id)
		}
		all = append(slices.Clone(r.ids), keys(blocked)...)
	}
	living, found, err := r.b.lockFinal(ctx, r.q, all)
	if err != nil {
		return err
	}
	if err := r.choose(all, living, found); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	r.settle()
	if len(r.again) == 0 {
		return nil
	}
	if err := r.claim(ctx, all); err != nil {
		return err
	}
	return r.revive(ctx, all)
}

// choose finds those that could begin a new life.
func (r *requeuing) choose(all []uuid.UUID, living map[uuid.UUID]*living, found map[uuid.UUID]*dead) error {
	const want = "one that is final without success"
	for i, id := range all {
		asked := i < len(r.ids)
		if first, again := r.places[id]; asked && again {
			if r.errs == nil || r.errs[first] == nil {
				r.errs = engine.Report(r.errs, len(r.ids), i, stateError(omniq.StatusPending, want))
			} else {
				r.errs[i] = r.errs[first]
			}
			continue
		}
		if asked {
			r.places[id] = i
		}
		d, l := found[id], living[id]
		holder, held := r.held[id]
		switch {
		case l != nil:
			r.report(id, stateError(statusOf(l.state), want))
			continue
		case d == nil:
			r.report(id, omniq.ErrNotFound)
			continue
		case d.status == omniq.StatusSuccess || text(d.envelope) == "":
			r.report(id, stateError(d.status, want))
			continue
		case held:
			r.report(id, omniq.Duplicate{ID: id, Holder: holder})
			continue
		}
		raw := new(omniq.RawTask)
		if err := raw.UnmarshalJSON([]byte(*d.envelope)); err != nil {
			r.report(id, fmt.Errorf("postgres: task %v: %w", id, err))
			continue
		}
		raw.CreatedAt, raw.RunAt, raw.Delay = d.now.UTC(), time.Time{}, 0
		t, err := encode(raw)
		if err != nil {
			return err
		}
		if raw.TTL != nil { // its whole TTL, whatever this program's clock says
			t.remaining.Int64 = microseconds(*raw.TTL)
		}
		t.tie, t.followed = d.tie, d.followed
		if d.saved != nil {
			t.saved = pgtype.Text{String: *d.saved, Valid: true}
		}
		r.again[id] = &revived{newTask: t, dead: d}
	}
	return nil
}

// look finds out about what they wait for, and who goes on with their results.
func (r *requeuing) look(ctx context.Context) error {
	err := r.q.run(ctx, stmt{sql: r.b.sql.of(usersOf), args: []any{sortedIDs(keys(r.again))}, row: func(row scanner) error {
		var id, user uuid.UUID
		var state int16
		err := row.Scan((*[16]byte)(&id), (*[16]byte)(&user), &state)
		r.again[id].used = fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended",
			omniq.ErrState, user, statusOf(state))
		return err
	}})
	if err != nil {
		return err
	}
	var ties list[int64]
	for _, t := range r.again {
		if t.newTask.tie != 0 {
			ties = append(ties, t.newTask.tie)
		}
	}
	if len(ties) == 0 {
		return nil
	}
	return r.q.run(ctx, stmt{sql: r.b.sql.of(edgesOf), args: []any{ties}, row: func(row scanner) error {
		var e fatedEdge
		var passed bool
		var need int16
		err := row.Scan((*[16]byte)(&e.task), &passed, &e.n, (*[16]byte)(&e.dep), &need, &e.input, &e.closed, &e.status)
		e.need = omniq.Need(need)
		t := r.again[e.task]
		if t == nil {
			return err
		}
		if e.need == omniq.NeedSuccess {
			t.leads = append(t.leads, e.dep)
		}
		if !passed {
			t.edges = append(t.edges, e)
		}
		return err
	}})
}

// reason is why a task cannot begin a new life.
func (r *requeuing) reason(id uuid.UUID, t *revived) error {
	if t.used != nil {
		return t.used
	}
	for i := range t.edges {
		if _, err := r.open(&t.edges[i]); err != nil {
			return err
		}
	}
	if _, asked := r.places[id]; asked || slices.ContainsFunc(t.leads, func(id uuid.UUID) bool { return r.again[id] != nil }) {
		return nil
	}
	return errNotFollowed
}

// errNotFollowed is of a task that nobody has asked for, and that needs none of those that are requeued. Nobody sees it.
var errNotFollowed = errors.New("it follows none")

// open reports whether a task waits for what an edge leads to, and an error for what can never be what it needs.
func (r *requeuing) open(e *fatedEdge) (bool, error) {
	switch {
	case r.again[e.dep] != nil || e.status != nil && *e.status == 0:
		return true, nil
	case e.status == nil && (e.closed || e.need == omniq.NeedFinal && !e.input):
		return false, nil
	case e.status == nil:
		return false, fmt.Errorf("%w: it needs task %v, of which nothing is kept", omniq.ErrState, e.dep)
	case !e.need.Met(omniq.Status(*e.status)):
		return false, fmt.Errorf("%w: it needs task %v, which is %v: requeue that one", omniq.ErrState, e.dep, omniq.Status(*e.status))
	}
	return false, nil
}

// settle leaves out those that need what has ended otherwise, and is not requeued, and then those that need these.
func (r *requeuing) settle() {
	followers := make(map[uuid.UUID][]uuid.UUID)
	for id, t := range r.again {
		for i := range t.edges {
			followers[t.edges[i].dep] = append(followers[t.edges[i].dep], id)
		}
		for _, dep := range t.leads {
			followers[dep] = append(followers[dep], id)
		}
	}
	for left := keys(r.again); len(left) > 0; {
		id := left[len(left)-1]
		left = left[:len(left)-1]
		if t := r.again[id]; t != nil {
			if err := r.reason(id, t); err != nil {
				delete(r.again, id)
				r.report(id, err)
				left = append(left, followers[id]...)
			}
		}
	}
}

// claim takes the unique keys. Where one is held by another, all begins again without its task, and without those that need it.
func (r *requeuing) claim(ctx context.Context, all []uuid.UUID) error {
	seen := make(map[uniqueKey]uuid.UUID)
	var keyed []claim
	refused := make(map[uuid.UUID]uuid.UUID)
	for _, id := range all {
		t := r.again[id]
		if t == nil || t.unique.key == "" {
			continue
		}
		switch first, ok := seen[t.unique]; {
		case ok && first != id:
			refused[id] = first
		case !ok:
			seen[t.unique] = id
			keyed = append(keyed, claimOf(&t.newTask))
		}
	}
	held, err := r.b.claim(ctx, r.q, keyed)
	if err != nil {
		return err
	}
	for id, holder := range held {
		if holder != id { // its own key may be held for a time
			refused[id] = holder
		}
	}
	if len(refused) == 0 {
		return nil
	}
	maps.Copy(r.held, refused)
	return errRefused
}

// errRefused says that a transaction begins again, and leaves out what it has found.
var errRefused = fmt.Errorf("%w: a unique key is held", errMoved)

// revive enqueues the tasks again. Their results are locked.
func (r *requeuing) revive(ctx context.Context, all []uuid.UUID) error {
	var stay []newTask
	var ids []uuid.UUID
	var ties, reopened list[int64]
	var ns list[int32]
	var mets list[bool]
	var checked, leads list[pgtype.UUID]
	opens := make(map[uuid.UUID]int)
	for id, t := range r.again {
		for i := range t.edges {
			e := &t.edges[i]
			open, err := r.open(e)
			if err != nil {
				return err
			}
			reopened, ns, mets = append(reopened, t.newTask.tie), append(ns, int32(e.n)), append(mets, !open)
			dep := r.again[e.dep]
			switch {
			case dep != nil:
				dep.newTask.followed |= followedBy(e.input)
			case open:
				checked, leads = append(checked, uuidOf(id)), append(leads, uuidOf(e.dep))
			}
			if open {
				opens[id]++
			}
		}
	}
	for _, id := range all {
		t := r.again[id]
		if t == nil {
			continue
		}
		delete(r.again, id) // it may have been asked for twice
		n := t.newTask
		n.place, n.waits = len(stay), opens[id] > 0 || n.manual
		r.e.tied = r.e.tied || n.tied() || n.tie != 0 || n.followed != 0 || n.saved.Valid
		if n.tie != 0 {
			ties = append(ties, n.tie)
		}
		stay, ids = append(stay, n), append(ids, id)
	}
	r.e.tasks = stay
	r.e.begin()
	b := r.b
	stmts := append([]stmt{{sql: b.sql.of(dropResults), args: []any{sortedIDs(ids)}}, b.renew(stay)}, r.e.insert(stay, false)...)
	if len(ties) > 0 {
		stmts = append(stmts, stmt{sql: b.sql.of(dropPassed), args: []any{ties}}, stmt{sql: b.sql.of(dropItems), args: []any{ties}},
			stmt{sql: b.sql.of(reopenEdges), args: []any{reopened, ns, mets}})
	}
	if len(opens) > 0 {
		var waiting list[pgtype.UUID]
		var counts list[int32]
		for _, id := range sortedIDs(keys(opens)) {
			waiting, counts = append(waiting, id), append(counts, int32(opens[id.Bytes]))
		}
		stmts = append(stmts, stmt{sql: b.sql.of(openEdges), args: []any{waiting, counts}})
	}
	if len(checked) > 0 {
		r.checks = true
		stmts = append(stmts, stmt{sql: b.sql.of(checkEdges), args: []any{checked, leads}})
	}
	if err := r.q.run(ctx, stmts...); err != nil {
		return err
	}
	for i := range stay {
		if r.e.errs[i] != nil { // somebody has written into the tables by hand
			return fmt.Errorf("task %v is queued and final at once", stay[i].id)
		}
	}
	return nil
}

// Who holds the same key for another task is left alone.
const renewKeys = `INSERT INTO {s}.unique_keys AS u (name, key, id, until)
	SELECT name, key, id, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END FROM ` + claims + `
	ORDER BY name, key
	ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE u.id = excluded.id OR u.until <= {now}`

// renew lets tasks hold the keys that are theirs, and their IDs, for their times from now on.
func (b *Backend) renew(tasks []newTask) stmt {
	list := make([]claim, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		if t.unique.key != "" {
			list = append(list, claimOf(t))
		}
		if t.idFor > 0 {
			list = append(list, claim{ID: t.id, Key: t.id.String(), Hold: microseconds(t.idFor)})
		}
	}
	return stmt{sql: b.sql.of(renewKeys), args: []any{jsonText(list)}}
}
