package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// The ties of a task, as they are stored: what it has to do with other tasks, and what is kept beside its row. A task
// without any costs no statement for them.
const (
	tieFollowed int64 = 1 << iota // others have it as a dependency
	tieEdges                      // it has dependencies
	tieManual
	tieResumed // it has passed its result on to other tasks
	tieNotes   // handlers have left something of it
	tieBlocked // it has ended because of a dependency
	tieFlow    // it is a member of a flow
	tieInput   // its result is an input of others
	tieBehind  // its dependency is the task whose unique key it has taken
)

// firstWait is the number of the first edge of those that took the place of the ones that a task was enqueued with.
const firstWait int64 = 1 << 20

// current are the numbers of the edges that count now: from the first to below the second.
func current(ties int64) (from, to int64) {
	if ties&tieResumed != 0 {
		return firstWait, 2 * firstWait
	}
	return 0, firstWait
}

// impossible is why something cannot be done that others have nothing to do with.
type impossible struct{ error }

func (i impossible) Unwrap() error { return i.error }

// try does something that may turn out to be refused or [impossible]: it reports that, and nothing of it is done then.
func (t *tx) try(do func() (refused, err error)) (refused, err error) {
	before := *t
	before.counts, before.ready, before.revoked = maps.Clone(t.counts), maps.Clone(t.ready), maps.Clone(t.revoked)
	before.fallout = slices.Clone(t.fallout)
	before.tallies, before.last = t.tallies.clone(), nil
	if _, err := t.q.exec("SAVEPOINT omniq_part"); err != nil {
		return nil, err
	}
	refused, err = do()
	if cannot, ok := errors.AsType[impossible](err); ok {
		refused, err = cannot.error, nil
	}
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		*t = before
		*t.bounds = bounds{} // what is known of lanes may be of what is taken back
		if _, err := t.q.exec("ROLLBACK TO omniq_part"); err != nil {
			return nil, err
		}
	}
	_, err = t.q.exec("RELEASE omniq_part")
	return refused, err
}

// joint is what the tasks of a call, of which some are tied to others, have in common.
type joint struct {
	holders map[uuid.UUID]uuid.UUID   // the tasks that take the places of those that were left out
	deps    map[uuid.UUID]*dependency // what is known of dependencies, and of the tasks of the call
	flows   map[uuid.UUID]bool        // of its tasks
	known   map[uuid.UUID]bool        // the tasks of the call that were there before it, or may be now
	grows   uuid.UUID                 // a flow to which members may be added, zero for none
	settled uuid.UUID                 // the task whose settlement it is, zero for none

	// To be stored: the rows of its last tasks, and what is kept beside those of all.
	rows                  []newTask
	members, edges, waits []driver.Value
}

// dependency is what is known of a task that others wait for.
type dependency struct {
	ended omniq.Status // 0 if it has not
	ties  int64        // of those that its followers make
}

func newJoint() *joint {
	return &joint{
		holders: make(map[uuid.UUID]uuid.UUID), deps: make(map[uuid.UUID]*dependency), flows: make(map[uuid.UUID]bool),
		known: make(map[uuid.UUID]bool),
	}
}

// edge is a dependency of a task, which leads to one that is there.
type edge struct {
	omniq.Dependency
	ended omniq.Status
}

// tied reports whether some of the tasks are tied to others.
func tied(list []newTask) bool {
	for i := range list {
		if list[i].ties != 0 {
			return true
		}
	}
	return false
}

// follow notes in the tasks of a call which of them are dependencies of others in it, or of after.
func follow(list []newTask, after []omniq.Dependency) {
	followed := make(map[uuid.UUID]int64)
	note := func(after []omniq.Dependency) {
		for _, d := range after {
			followed[d.ID] |= tiesOf(d)
		}
	}
	note(after)
	for i := len(list) - 1; i >= 0; i-- {
		if len(followed) > 0 {
			list[i].ties |= followed[list[i].id]
		}
		note(list[i].after)
	}
}

// tiesOf are those of a dependency that somebody has.
func tiesOf(d omniq.Dependency) int64 {
	if d.Input {
		return tieFollowed | tieInput
	}
	return tieFollowed
}

// enqueueAll stores the tasks of a call, of which some are tied to others. It is [impossible] if one of them cannot be.
func (t *tx) enqueueAll(list []newTask, j *joint) (errs []error, err error) {
	flows := make(map[uuid.UUID]bool)
	if err := t.knownOf(list, j.known); err != nil {
		return nil, err
	}
	for i := range list {
		refused, err := t.enqueueTied(&list[i], j, flows)
		if err != nil {
			return nil, err
		}
		if refused != nil {
			if errs == nil {
				errs = make([]error, len(list))
			}
			errs[i] = refused
		}
	}
	maps.Copy(j.flows, flows)
	return errs, t.ties(j)
}

var (
	addMembers = newMany("INSERT INTO omniq_members (flow, member, id) VALUES ", 3, "")
	addEdges   = newMany("INSERT INTO omniq_edges (task, n, dep, need, input, ended) VALUES ", 6, "")
	addWaits   = newMany("INSERT OR REPLACE INTO omniq_waits (task, open) VALUES ", 2, "")
)

// store stores the rows of the tasks of a call that are still to be stored. None of their IDs is known, so none is refused.
func (t *tx) store(j *joint) error {
	for len(j.rows) > 0 {
		n, all, err := t.insertSome(plainTasks(j.rows))
		if err != nil {
			return err
		}
		if !all { // something is kept of earlier lives of some
			for i := range j.rows[:n] {
				refused, err := t.insert(&j.rows[i], t.remaining(&j.rows[i]))
				if err = errors.Join(refused, err); err != nil {
					return err
				}
			}
		}
		j.rows = j.rows[n:]
	}
	return nil
}

// ties stores what is still to be stored of the tasks of a call.
func (t *tx) ties(j *joint) error {
	if err := t.store(j); err != nil {
		return err
	}
	if err := addMembers.exec(t.q, j.members); err != nil {
		return err
	}
	if err := addEdges.exec(t.q, j.edges); err != nil {
		return err
	}
	err := addWaits.exec(t.q, j.waits)
	j.members, j.edges, j.waits = nil, nil, nil
	return err
}

// enqueueTied stores a task that may be tied to others, or says why not. flows are those of its call.
func (t *tx) enqueueTied(n *newTask, j *joint, flows map[uuid.UUID]bool) (refused, err error) {
	// What comes before it in the call may have its key or its ID: that is stored first.
	alone := n.onHeld != omniq.HeldRefuse || n.uniqueKey != nil || n.idFor > 0 || j.known[n.id]
	if alone {
		if err := t.store(j); err != nil {
			return nil, err
		}
	}
	if n.onHeld == omniq.HeldRefuse {
		refused, err = t.takenIn(n, j)
	} else {
		refused, err = t.overtake(n, j)
	}
	if refused != nil || err != nil {
		if d, ok := errors.AsType[omniq.Duplicate](refused); ok {
			j.holders[n.id] = d.Holder
		}
		return refused, err
	}
	delete(j.holders, n.id)
	if n.onHeld != omniq.HeldRefuse { // it is stored
		j.known[n.id] = true
		return nil, nil
	}
	if n.ties&tieFlow != 0 {
		if err := t.mayJoin(n, j, flows); err != nil {
			return nil, err
		}
	}
	edges, unmet, err := t.edges(n.id, n.after, j)
	if err != nil {
		return nil, err
	}
	n.waits = n.ties&tieManual != 0 || unmet != nil || unended(edges) > 0
	if alone {
		refused, err = t.insert(n, t.remaining(n))
	} else if j.rows = append(j.rows, *n); unmet != nil || len(j.rows) == atOnce { // the row of one that is unmet is looked at below
		err = t.store(j)
	}
	if refused != nil || err != nil {
		return refused, err
	}
	if n.ties&tieFlow != 0 {
		if err := t.join(n, j); err != nil {
			return nil, err
		}
	}
	j.known[n.id] = true
	j.deps[n.id] = &dependency{ties: n.ties}
	j.lead(n.id, edges, 0)
	if unmet == nil {
		return nil, nil
	}
	delete(j.deps, n.id) // it ends at once
	r, err := t.row(n.id)
	if err != nil || r == nil {
		return nil, err
	}
	return nil, t.block(r, unmet)
}

// edges finds what a task is to wait for. It returns one that has ended otherwise than the task needs it, nil if there is
// none. It is [impossible] if a dependency is unknown.
func (t *tx) edges(id uuid.UUID, after []omniq.Dependency, j *joint) (edges []edge, unmet *fallout, err error) {
	edges = make([]edge, len(after))
	for i, d := range after {
		if holder, ok := j.holders[d.ID]; ok {
			d.ID = holder
		}
		dep, err := t.dependency(d, j)
		if err != nil {
			return nil, nil, err
		}
		if dep == nil {
			return nil, nil, impossible{fmt.Errorf("%w: task %v depends on task %v, which is unknown or gone",
				omniq.ErrNotFound, id, after[i].ID)}
		}
		edges[i] = edge{d, dep.ended}
		if dep.ended != 0 && !d.Need.Met(dep.ended) && unmet == nil {
			if unmet, err = t.ending(d.ID); err != nil {
				return nil, nil, err
			}
		}
	}
	return edges, unmet, nil
}

// dependency finds a task that another is to wait for, and notes that there is one. It is nil if it is unknown.
func (t *tx) dependency(d omniq.Dependency, j *joint) (*dependency, error) {
	dep, known := j.deps[d.ID]
	if !known {
		err := t.q.query("SELECT ties FROM omniq_tasks WHERE id = ?", func(v []driver.Value) error {
			dep = &dependency{ties: v[0].(int64)}
			return nil
		}, d.ID[:])
		if err != nil {
			return nil, err
		}
		if dep == nil {
			err := t.q.query("SELECT status FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ? OR id = ?)",
				func(v []driver.Value) error {
					dep = &dependency{ended: omniq.Status(v[0].(int64))}
					return nil
				}, d.ID[:], t.us, j.settled[:])
			if err != nil {
				return nil, err
			}
		}
		if dep == nil {
			return nil, nil
		}
		j.deps[d.ID] = dep
	}
	ties := tiesOf(d)
	if dep.ties&ties == ties {
		return dep, nil
	}
	dep.ties |= ties
	var err error
	i := slices.IndexFunc(j.rows, func(n newTask) bool { return n.id == d.ID })
	switch {
	case i >= 0: // it is still to be stored
		j.rows[i].ties |= ties
	case dep.ended == 0:
		_, err = t.q.exec("UPDATE omniq_tasks SET ties = ties | ? WHERE id = ?", ties, d.ID[:])
	case d.Input:
		err = t.needInput(d.ID, ties)
	default:
		_, err = t.q.exec("UPDATE omniq_results SET ties = ties | ? WHERE id = ?", ties, d.ID[:])
	}
	return dep, err
}

// unended is for how many tasks one has to wait.
func unended(edges []edge) (n int64) {
	for i := range edges {
		if edges[i].ended == 0 {
			n++
		}
	}
	return n
}

// lead adds the edges of a task, whose numbers begin with first.
func (j *joint) lead(id uuid.UUID, edges []edge, first int64) {
	for i := range edges {
		e := &edges[i]
		j.edges = append(j.edges, id[:], first+int64(i), e.ID[:], int64(e.Need), integer(e.Input), int64(e.ended))
	}
	if n := unended(edges); n > 0 {
		j.waits = append(j.waits, id[:], n)
	}
}

// besides are what is kept beside the row of a task that has some ties: how it is found, with the ID and the number of rows, and
// removed. What is found is what removes it.
var besides = []struct {
	ties         int64
	find, remove string
}{
	{
		tieEdges, "SELECT dep, task, n FROM omniq_edges WHERE task = ? LIMIT ?",
		"DELETE FROM omniq_edges WHERE dep = ? AND task = ? AND n = ?",
	},
	{tieEdges, "SELECT task FROM omniq_waits WHERE task = ? LIMIT ?", "DELETE FROM omniq_waits WHERE task = ?"},
	{tieNotes, "SELECT n FROM omniq_items WHERE id = ? LIMIT ?", "DELETE FROM omniq_items WHERE n = ?"},
	{tieNotes, "SELECT seq FROM omniq_notes WHERE id = ? LIMIT ?", "DELETE FROM omniq_notes WHERE seq = ?"},
	{tieFlow, "SELECT flow, member FROM omniq_members WHERE id = ? LIMIT ?", "DELETE FROM omniq_members WHERE flow = ? AND member = ?"},
}

// untie removes what is kept beside the row of a task that goes, as many rows as most, which it counts down. all reports that
// there is no more.
func (t *tx) untie(id uuid.UUID, ties int64, most *int) (all bool, err error) {
	for _, b := range besides {
		if ties&b.ties == 0 {
			continue
		}
		if all, err := t.clear(b.find, b.remove, id, most); !all || err != nil {
			return false, err
		}
	}
	return true, nil
}

// clear is untie for one table.
func (t *tx) clear(find, remove string, id uuid.UUID, most *int) (all bool, err error) {
	var found [][]driver.Value
	err = t.q.query(find, func(v []driver.Value) error { found = append(found, slices.Clone(v)); return nil }, id[:], int64(*most))
	if err != nil {
		return false, err
	}
	for _, keys := range found {
		if _, err := t.q.exec(remove, keys...); err != nil {
			return false, err
		}
	}
	*most -= len(found)
	return *most > 0, nil
}

// untieAll removes all that is kept beside the row of a task that goes.
func (t *tx) untieAll(id uuid.UUID, ties int64) error {
	for {
		most := stride * stride
		if all, err := t.untie(id, ties, &most); all || err != nil {
			return err
		}
	}
}
