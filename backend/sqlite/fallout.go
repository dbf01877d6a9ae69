package sqlite

import (
	"database/sql/driver"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// How many followers of tasks that have ended are told of it in one transaction: at the most, and at least, however long that
// takes.
const (
	toldAtOnce  = 500
	toldAtLeast = 2 * stride
)

// fallout is a task that has ended, whose followers are to be told.
type fallout struct {
	id     uuid.UUID
	name   string
	result *omniq.RawResult // of one that has succeeded, the status alone
}

// ends does what else there is to do about the end of a task that has ties.
func (t *tx) ends(r *task, result *omniq.RawResult) error {
	if r.ties&tieFollowed != 0 {
		t.fallout = append(t.fallout, fallout{id: r.id, name: r.name, result: result})
	}
	if r.ties&tieNotes != 0 && result.Status == omniq.StatusSuccess {
		_, err := t.q.exec("DELETE FROM omniq_notes WHERE id = ? AND kind = ?", r.id[:], noteState)
		return err
	}
	return nil
}

// ending is how a task has ended whose result is kept.
func (t *tx) ending(id uuid.UUID) (f *fallout, err error) {
	err = t.q.query("SELECT name, result FROM omniq_results WHERE id = ?", func(v []driver.Value) error {
		f = &fallout{id: id, name: text(v[0]), result: new(omniq.RawResult)}
		return decodeResult(id, text(v[1]), f.result)
	}, id[:])
	return f, err
}

// tell tells followers of tasks that have ended, as far as the transaction may: of those that it has ended and, with stored,
// of those that are in the store. What is left is in the store then.
func (t *tx) tell(stored bool) error {
	if len(t.fallout) == 0 && !stored {
		return nil
	}
	told, end := 0, time.Now().Add(t.allowed)
	turn := stored // of what is in the store, or it would wait for as long as others come
	for told < toldAtOnce && (told < toldAtLeast || time.Now().Before(end)) {
		var n int
		var err error
		switch {
		case len(t.fallout) > 0 && !turn:
			n, err = t.tellNew()
		case stored:
			n, stored, err = t.tellStored()
		default:
			return t.releaseLoose()
		}
		if err != nil {
			return err
		}
		turn, told = false, told+n+1
		if len(t.loose) >= 4*stride {
			if err := t.releaseLoose(); err != nil {
				return err
			}
		}
	}
	t.left = stored
	if err := t.releaseLoose(); err != nil {
		return err
	}
	return t.defers()
}

// tellNew tells some followers of the first tasks that the transaction has ended.
func (t *tx) tellNew() (n int, err error) {
	if n := t.succeeded(); n > 1 {
		return t.tellTogether(n)
	}
	f := t.fallout[0]
	if n, err = t.tellSome(&f); n < stride {
		t.fallout = t.fallout[1:]
	}
	return n, err
}

// succeeded is how many of the first tasks that the transaction has ended have succeeded: a stride at the most.
func (t *tx) succeeded() (n int) {
	for n < min(len(t.fallout), stride) && t.fallout[n].result.Status == omniq.StatusSuccess {
		n++
	}
	return n
}

// What is found and told of tasks that have succeeded, of some at once. Whatever their followers need is met.
var (
	findTold = newMany("WITH done (id) AS (VALUES ", 1, `)
		SELECT e.task, e.n, e.ended FROM done CROSS JOIN omniq_edges e INDEXED BY omniq_edges_dep ON e.dep = done.id AND e.ended < 3 UNION ALL
		SELECT e.task, e.n, e.ended FROM done CROSS JOIN omniq_edges e INDEXED BY omniq_edges_dep ON e.dep = done.id AND e.ended > 3
		LIMIT 64`)
	tellDone = newMany("UPDATE omniq_edges SET ended = 3 WHERE (task, n) IN (VALUES ", 2, ")")
)

// tellTogether tells some followers of the first tasks that the transaction has ended, of which the first n have succeeded.
func (t *tx) tellTogether(n int) (told int, err error) {
	text, n := findTold.first(n)
	ids := make([]driver.Value, n)
	for i := range ids {
		ids[i] = t.fallout[i].id[:]
	}
	edges := make([]driver.Value, 0, 4*stride)
	err = t.q.query(text, func(v []driver.Value) error {
		id := idOf(v[0])
		edges = append(edges, id[:], v[1])
		if v[2] == int64(0) {
			t.loose = append(t.loose, id)
		}
		return nil
	}, ids...)
	if err != nil {
		return 0, err
	}
	if told = len(edges) / 2; told < 2*stride {
		t.fallout = t.fallout[n:]
	}
	return told, tellDone.exec(t.q, edges)
}

// tellStored tells some followers of the first task in the store. more reports whether there may be more.
func (t *tx) tellStored() (n int, more bool, err error) {
	var f *fallout
	var seq int64
	err = t.q.query("SELECT seq, id, status, name, result FROM omniq_fallout ORDER BY seq LIMIT 1", func(v []driver.Value) error {
		seq = v[0].(int64)
		f = &fallout{id: idOf(v[1]), name: text(v[3]), result: &omniq.RawResult{Status: omniq.Status(v[2].(int64))}}
		if envelope := text(v[4]); envelope != "" {
			return decodeResult(f.id, envelope, f.result)
		}
		return nil
	})
	if err != nil || f == nil {
		return 0, false, err
	}
	if n, err = t.tellSome(f); err == nil && n < stride {
		_, err = t.q.exec("DELETE FROM omniq_fallout WHERE seq = ?", seq)
	}
	return n, true, err
}

// follower is a task, and its edge to one that has ended.
type follower struct {
	id   uuid.UUID
	n    int64
	need omniq.Need
	open bool // it waits
}

// tellSome tells some of those that follow a task, and returns how many: less than a stride if there are no more. Those that
// do not wait any more are told, too, for their next life.
func (t *tx) tellSome(f *fallout) (int, error) {
	var list []follower
	for _, q := range []string{
		"SELECT task, n, need, ended FROM omniq_edges INDEXED BY omniq_edges_dep WHERE dep = ? AND ended < ? LIMIT ?",
		"SELECT task, n, need, ended FROM omniq_edges INDEXED BY omniq_edges_dep WHERE dep = ? AND ended > ? LIMIT ?",
	} {
		err := t.q.query(q, func(v []driver.Value) error {
			list = append(list, follower{idOf(v[0]), v[1].(int64), omniq.Need(v[2].(int64)), v[3] == int64(0)})
			return nil
		}, f.id[:], int64(f.result.Status), int64(stride-len(list)))
		if err != nil {
			return 0, err
		}
	}
	for i := range list {
		if err := t.tellOne(&list[i], f); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

func (t *tx) tellOne(to *follower, f *fallout) error {
	_, err := t.q.exec("UPDATE omniq_edges SET ended = ? WHERE task = ? AND n = ?", int64(f.result.Status), to.id[:], to.n)
	if err != nil || !to.open {
		return err
	}
	if to.need.Met(f.result.Status) {
		t.loose = append(t.loose, to.id)
		return nil
	}
	r, err := t.row(to.id)
	if err != nil || r == nil || r.state != stateWaiting || r.wake != 0 && r.wake <= t.us { // it expires
		return err
	}
	return t.block(r, f)
}

// findLoose finds those of some tasks that wait for no other any more.
var findLoose = newMany("WITH told (task) AS (VALUES ", 1, `) SELECT task FROM told
	WHERE NOT EXISTS (SELECT 1 FROM omniq_edges e INDEXED BY omniq_edges_open WHERE e.task = told.task AND e.ended = 0)`)

// releaseLoose makes those pending that wait for no other any more, of the tasks that were told of one.
func (t *tx) releaseLoose() error {
	values := make([]driver.Value, 0, len(t.loose))
	seen := make(map[uuid.UUID]bool, len(t.loose))
	for _, id := range t.loose {
		if !seen[id] {
			seen[id] = true
			values = append(values, id[:])
		}
	}
	var free []uuid.UUID
	t.loose = t.loose[:0]
	err := findLoose.query(t.q, func(v []driver.Value) error { free = append(free, idOf(v[0])); return nil }, values)
	if err != nil {
		return err
	}
	for _, id := range free {
		if err := t.release(id); err != nil {
			return err
		}
	}
	return nil
}

// row returns the row of a task, whatever was to happen to it by itself, and nil if there is none.
func (t *tx) row(id uuid.UUID) (r *task, err error) {
	err = t.q.query("SELECT "+taskColumns+", task FROM omniq_tasks WHERE id = ?", func(v []driver.Value) error {
		r = new(task)
		r.scan(v)
		return nil
	}, id[:])
	return r, err
}

// release makes a task pending that has waited for others.
func (t *tx) release(id uuid.UUID) error {
	const q = "SELECT " + taskColumns + ", NULL, delay FROM omniq_tasks WHERE id = ? AND state = 7"
	var r *task
	var delay driver.Value
	err := t.q.query(q, func(v []driver.Value) error {
		r, delay = new(task), v[columnsOfTask+1]
		r.scan(v)
		return nil
	}, id[:])
	if err != nil || r == nil || r.ties&tieManual != 0 || r.wake != 0 && r.wake <= t.us { // it expires
		return err
	}
	r.due = max(r.due, t.us)
	if d, ok := delay.(int64); ok {
		r.due = t.us + d
	}
	state, wake := t.place(r.due, r.deadline)
	_, err = t.q.exec("UPDATE omniq_tasks SET state = ?, due = ?, wake = ?, since = ?, delay = NULL WHERE seq = ?",
		state, r.due, wake, t.us, r.seq)
	if err != nil {
		return err
	}
	return t.move(r, stateWaiting, state)
}

// block ends a task because of a dependency that has ended otherwise than it needs.
func (t *tx) block(r *task, f *fallout) error {
	r.ties |= tieBlocked
	return t.conclude(r, func(raw *omniq.RawTask) *omniq.RawResult {
		return omniq.DependencyResult(raw, t.now, int(r.attempt), f.name, f.result)
	})
}

// defers stores which tasks have ended whose followers are still to be told.
func (t *tx) defers() error {
	for _, f := range t.fallout {
		var envelope driver.Value
		if f.result.Status != omniq.StatusSuccess {
			text, err := encodeResult(f.result)
			if err != nil {
				return err
			}
			envelope = text
		}
		_, err := t.q.exec("INSERT OR REPLACE INTO omniq_fallout (id, status, name, result) VALUES (?, ?, ?, ?)",
			f.id[:], int64(f.result.Status), f.name, envelope)
		if err != nil {
			return err
		}
		t.left = true
	}
	t.fallout = nil
	return nil
}
