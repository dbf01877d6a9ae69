package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

const (
	// Who brings tasks of a flow waits for others that do, until they have committed. See the locks of this package.
	lockFlows = "SELECT pg_advisory_xact_lock(k) FROM (SELECT {s}.flow_lock(f) AS k FROM unnest($1::uuid[]) AS f ORDER BY k OFFSET 0) l"

	knownFlows = `SELECT id, 1 FROM unnest($1::uuid[]) AS i (id) WHERE EXISTS (SELECT FROM {s}.tasks t WHERE t.flow = i.id)
		OR EXISTS (SELECT FROM {s}.results r WHERE r.flow = i.id AND (r.expires IS NULL OR r.expires > {now}))`

	// What has become of tasks: 0 for those that are not final. The second is one that has ended in this transaction.
	findDependencies = `SELECT id, status FROM (SELECT t.id, 0 AS status FROM {s}.tasks t WHERE t.id = ANY ($1::uuid[])
		UNION ALL SELECT r.id, r.status FROM {s}.results r
			WHERE r.id = ANY ($1::uuid[]) AND (r.expires IS NULL OR r.expires > {now} OR r.id = ANY ($2::uuid[]))) d`

	insertEdges = `INSERT INTO {s}.edges (tie, passed, n, task, dep, need, input, met)
		SELECT t.tie, $7, i.n, i.task, i.dep, i.need, i.input, CASE WHEN i.met THEN true END
		FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::smallint[], $5::boolean[], $6::boolean[]) AS i (task, n, dep, need, input, met)
		CROSS JOIN LATERAL (SELECT t.tie FROM {s}.tasks t WHERE t.id = i.task OFFSET 0) t`

	// An edge to a task that was there already is looked at when it can be seen by those who end that task.
	checkEdges = `INSERT INTO {s}.work (kind, task, dep, tie) SELECT 1, i.task, i.dep, t.tie
		FROM unnest($1::uuid[], $2::uuid[]) AS i (task, dep)
		CROSS JOIN LATERAL (SELECT t.tie FROM {s}.tasks t WHERE t.id = i.task OFFSET 0) t`

	openEdges = `UPDATE {s}.tasks t SET open = i.open FROM unnest($1::uuid[], $2::integer[]) AS i (id, open) WHERE t.id = ANY (ARRAY[i.id])`
)

// edge is a dependency of a task, and what is known of it.
type edge struct {
	task   uuid.UUID
	n      int
	dep    uuid.UUID // the task itself: where it was left out as a duplicate, its holder
	need   omniq.Need
	input  bool
	met    bool // it has ended as the task needs it
	late   bool // it is stored by the same call, and stands after the task
	looked bool // it is known that who ends it tells the task: it is stored by the same statement
}

// tying is what a transaction makes of tasks that wait for others.
type tying struct {
	b     *Backend
	q     querier
	store querier           // for those that store tasks
	ended list[pgtype.UUID] // a task that has ended in this transaction: it counts whatever its TTL is

	flows   map[uuid.UUID]bool      // those that have members, nil until it is known; they are locked
	others  []omniq.Dependency      // what a task of no call waits for
	later   map[uuid.UUID]bool      // tasks that the call has stored, and of these:
	added   map[uuid.UUID]bool      // those whose place has come
	holders map[uuid.UUID]uuid.UUID // the tasks that take the places of those that it has left out
	marked  map[uuid.UUID]int16     // tasks of the call that were stored as ones that are followed
	edges   []edge
	opens   map[uuid.UUID]int // tasks that have edges, and how many of them are open
	checks  bool              // there are edges to be looked at
	ready   released

	overtaking *overtaking // of a call that does: nil until something is locked for it
}

func newTying(b *Backend, q querier) *tying {
	return &tying{
		b: b, q: q, store: q, ended: list[pgtype.UUID]{}, added: make(map[uuid.UUID]bool), holders: make(map[uuid.UUID]uuid.UUID), opens: make(map[uuid.UUID]int),
		ready: released{b: b},
	}
}

// lockFlows locks the flows of tasks, but for one that may grow, and returns those that have members.
func (t *tying) lockFlows(ctx context.Context, tasks []newTask, grows uuid.UUID) (known map[uuid.UUID]bool, err error) {
	var flows []uuid.UUID
	for i := range tasks {
		if f := tasks[i].flow; f != uuid.Nil && f != grows {
			flows = append(flows, f)
		}
	}
	known = make(map[uuid.UUID]bool)
	if len(flows) == 0 {
		return known, nil
	}
	ids := sortedIDs(flows)
	return known, t.q.run(ctx,
		stmt{sql: t.b.sql.of(lockFlows), args: []any{ids}},
		stmt{sql: t.b.sql.of(knownFlows), args: []any{ids}, row: func(row scanner) error {
			var id uuid.UUID
			var one int
			err := row.Scan((*[16]byte)(&id), &one)
			known[id] = true
			return err
		}})
}

// add takes note of what a task waits for, whose place in the call has come.
func (t *tying) add(id uuid.UUID, after []omniq.Dependency) {
	for n, d := range after {
		dep := d.ID
		if holder, ok := t.holders[dep]; ok && !t.added[dep] {
			dep = holder
		}
		bits := followedBy(d.Input)
		t.edges = append(t.edges, edge{
			task: id, n: n, dep: dep, need: d.Need, input: d.Input,
			looked: t.added[dep] && t.marked[dep]&bits == bits, late: t.later[dep] && !t.added[dep],
		})
	}
	if len(after) > 0 {
		t.opens[id] = 0
	}
}

// followedBy are the bits of a task that is followed, see the table.
func followedBy(input bool) int16 {
	if input {
		return 3
	}
	return 1
}

// join stores the edges. Passed is for those of a task that has passed its result on.
func (t *tying) join(ctx context.Context, passed bool) error {
	if err := t.find(ctx); err != nil {
		return err
	}
	n := len(t.edges)
	tasks, ns, deps := make(list[pgtype.UUID], n), make(list[int32], n), make(list[pgtype.UUID], n)
	needs, inputs, mets := make(list[int16], n), make(list[bool], n), make(list[bool], n)
	var checked, leads list[pgtype.UUID]
	for i := range t.edges {
		e := &t.edges[i]
		tasks[i], ns[i], deps[i] = uuidOf(e.task), int32(e.n), uuidOf(e.dep)
		needs[i], inputs[i], mets[i] = int16(e.need), e.input, e.met
		if !e.met {
			t.opens[e.task]++
		}
		if !e.looked && (!e.met || e.input) {
			checked, leads = append(checked, tasks[i]), append(leads, deps[i])
		}
	}
	var stmts []stmt
	if n > 0 {
		stmts = append(stmts, stmt{sql: t.b.sql.of(insertEdges), args: []any{tasks, ns, deps, needs, inputs, mets, passed}})
	}
	if len(checked) > 0 {
		t.checks = true
		stmts = append(stmts, stmt{sql: t.b.sql.of(checkEdges), args: []any{checked, leads}})
	}
	var ids, free list[pgtype.UUID]
	var opens list[int32]
	for _, id := range sortedIDs(keys(t.opens)) {
		open := t.opens[id.Bytes]
		ids, opens = append(ids, id), append(opens, int32(open))
		if open == 0 {
			free = append(free, id)
		}
	}
	stmts = append(stmts, stmt{sql: t.b.sql.of(openEdges), args: []any{ids, opens}})
	if len(free) > 0 {
		stmts = append(stmts, stmt{sql: t.b.sql.of(releaseNew), args: []any{free}, row: func(row scanner) error {
			_, _, err := t.ready.row(row)
			return err
		}})
	}
	return t.q.run(ctx, stmts...)
}

func keys[V any](m map[uuid.UUID]V) []uuid.UUID {
	list := make([]uuid.UUID, 0, len(m))
	for id := range m {
		list = append(list, id)
	}
	return list
}

// find finds out about the dependencies that were not stored by this call before the task.
func (t *tying) find(ctx context.Context) error {
	var ids []uuid.UUID
	for i := range t.edges {
		if e := &t.edges[i]; !e.looked {
			ids = append(ids, e.dep)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found := make(map[uuid.UUID]omniq.Status)
	err := t.q.run(ctx, stmt{sql: t.b.sql.of(findDependencies), args: []any{sortedIDs(ids), t.ended}, row: func(row scanner) error {
		var id uuid.UUID
		var status int16
		err := row.Scan((*[16]byte)(&id), &status)
		if earlier, twice := found[id]; !twice || earlier != 0 {
			found[id] = omniq.Status(status)
		}
		return err
	}})
	if err != nil {
		return err
	}
	for i := range t.edges {
		e := &t.edges[i]
		if e.looked {
			continue
		}
		status, there := found[e.dep]
		if !there || e.late {
			return &known{fmt.Errorf("%w: task %v depends on task %v, which is unknown or gone", omniq.ErrNotFound, e.task, e.dep)}
		}
		e.met = status != 0 && e.need.Met(status)
	}
	return nil
}

// errStored says that a flow has members already.
func errStored(n *newTask) error {
	return &known{fmt.Errorf("%w: task %v is of flow %v, which is stored already: only its members can add to it", omniq.ErrState, n.id, n.flow)}
}

// tie stores the tasks of a call of which some are tied to others, in one transaction. Grows is a flow to which members may be
// added.
func (e *enqueuing) tie(ctx context.Context, t *tying, grows uuid.UUID) error {
	var err error
	if t.flows == nil {
		if t.flows, err = t.lockFlows(ctx, e.tasks, grows); err != nil {
			return err
		}
	}
	if e.overtakes {
		e.tasks = slices.Clone(e.brought)
	}
	t.marked = make(map[uuid.UUID]int16)
	for _, d := range t.others {
		t.marked[d.ID] |= followedBy(d.Input)
	}
	for i := range e.tasks {
		for _, d := range e.tasks[i].after {
			t.marked[d.ID] |= followedBy(d.Input)
		}
	}
	for i := range e.tasks {
		e.tasks[i].followed = t.marked[e.tasks[i].id]
	}
	if e.overtakes {
		err = e.overtake(ctx, t)
	} else {
		err = e.run(func(stmts func() []stmt) error { return t.store.run(ctx, stmts()...) })
	}
	if err != nil {
		return err
	}
	t.later = make(map[uuid.UUID]bool)
	for i := range e.tasks {
		n := &e.tasks[i]
		if e.errs[i] == nil && t.flows[n.flow] {
			return errStored(n)
		}
		t.later[n.id] = t.later[n.id] || e.errs[i] == nil
	}
	for i := range e.tasks {
		n := &e.tasks[i]
		var d omniq.Duplicate
		if errors.As(e.errs[i], &d) {
			t.holders[n.id] = d.Holder
			continue
		}
		t.add(n.id, n.after)
		t.added[n.id] = true
	}
	if len(t.opens) == 0 {
		return nil
	}
	return t.join(ctx, false)
}
