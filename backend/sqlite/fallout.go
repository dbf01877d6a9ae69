package sqlite

import (
	"database/sql/driver"
	"errors"
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

	task  uuid.UUID // the last follower that was told, zero before the first
	n     int64     // of its edge
	alone bool      // its followers are too many to be told together with those of others
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
		if told, all, err := t.tellInputs(n); all || err != nil {
			return told, err
		}
		return t.tellTogether(n)
	}
	f := t.fallout[0]
	if n, err = t.tellSome(&f); err != nil {
		return 0, err
	}
	t.fallout[0] = f
	if n < stride {
		t.fallout = t.fallout[1:]
	}
	return n, nil
}

// succeeded is how many of the first tasks that the transaction has ended have succeeded, and can be told together: a stride at the
// most.
func (t *tx) succeeded() (n int) {
	for n < min(len(t.fallout), stride) && t.fallout[n].result.Status == omniq.StatusSuccess && !t.fallout[n].alone {
		n++
	}
	return n
}

// findInputs finds who waits for some tasks, and NULL for an edge in which something is to be noted.
var findInputs = newMany("WITH done (id) AS (VALUES ", 1, `) SELECT CASE WHEN e.ended = 0 AND e.input = 1 THEN e.task END
	FROM done CROSS JOIN omniq_edges e ON e.dep = done.id LIMIT 64`)

// tellInputs is tellTogether for tasks that are nothing but inputs of a few others: to read more columns costs as much as to find them.
// all reports that they are.
func (t *tx) tellInputs(n int) (told int, all bool, err error) {
	text, n := findInputs.first(n)
	before := len(t.loose)
	err = t.q.query(text, func(v []driver.Value) error {
		id, ok := v[0].([]byte)
		if !ok || len(t.loose)-before == 2*stride-1 {
			return errEnough
		}
		t.loose = append(t.loose, idOf(id))
		return nil
	}, t.firstEnded(n)...)
	if err != nil {
		t.loose = t.loose[:before]
		if errors.Is(err, errEnough) {
			err = nil
		}
		return 0, false, err
	}
	t.fallout = t.fallout[n:]
	return len(t.loose) - before, true, nil
}

// firstEnded are the IDs of the first tasks that the transaction has ended.
func (t *tx) firstEnded(n int) []driver.Value {
	ids := make([]driver.Value, n)
	for i := range ids {
		ids[i] = t.fallout[i].id[:]
	}
	return ids
}

// findTold finds edges that lead to some tasks.
var findTold = newMany("WITH done (id) AS (VALUES ", 1, `)
	SELECT e.dep, e.task, e.n, e.need, e.ended, e.input FROM done CROSS JOIN omniq_edges e ON e.dep = done.id LIMIT 64`)

// tellTogether tells the followers of the first tasks that the transaction has ended, of which the first n have succeeded, as far as
// these are not too many.
func (t *tx) tellTogether(n int) (told int, err error) {
	text, n := findTold.first(n)
	const most = 2 * stride
	list := make([]follower, 0, most)
	first := 0                              // of the followers of the task that was found last
	before := make(map[uuid.UUID]bool, n+1) // the tasks that were found before
	err = t.q.query(text, func(v []driver.Value) error {
		f := followerOf(v)
		if len(list) > 0 && f.dep != list[first].dep {
			before[list[first].dep] = true
			first = len(list)
		}
		list = append(list, f)
		return nil
	}, t.firstEnded(n)...)
	if err != nil {
		return 0, err
	}
	done := t.fallout[:n:n]
	t.fallout = t.fallout[n:]
	if len(list) == most { // there may be more of the last task, and of those that were not found
		last := list[first].dep
		list = list[:first]
		left := make([]fallout, 0, n+len(t.fallout))
		for _, f := range done {
			if !before[f.id] {
				f.alone = f.id == last && first == 0
				left = append(left, f)
			}
		}
		t.fallout = append(left, t.fallout...)
	}
	return len(list), t.tellEach(list, &done[0])
}

// tellStored tells some followers of the first task in the store. more reports whether there may be more.
func (t *tx) tellStored() (n int, more bool, err error) {
	var f *fallout
	var seq int64
	const q = "SELECT seq, id, status, name, result, task, n FROM omniq_fallout ORDER BY seq LIMIT 1"
	err = t.q.query(q, func(v []driver.Value) error {
		seq = v[0].(int64)
		f = &fallout{id: idOf(v[1]), name: text(v[3]), result: &omniq.RawResult{Status: omniq.Status(v[2].(int64))}, task: idOf(v[5])}
		f.n, _ = v[6].(int64)
		if envelope := text(v[4]); envelope != "" {
			return decodeResult(f.id, envelope, f.result)
		}
		return nil
	})
	if err != nil || f == nil {
		return 0, false, err
	}
	if n, err = t.tellSome(f); err != nil {
		return 0, false, err
	}
	if n < stride {
		_, err = t.q.exec("DELETE FROM omniq_fallout WHERE seq = ?", seq)
	} else {
		_, err = t.q.exec("UPDATE omniq_fallout SET task = ?, n = ? WHERE seq = ?", f.task[:], f.n, seq)
	}
	return n, true, err
}

// follower is a task, by its edge to one that has ended.
type follower struct {
	dep, task uuid.UUID
	n         int64
	need      omniq.Need
	ended     omniq.Status // what it was told before
	input     bool
}

// followerOf is one of a row of dep, task, n, need, ended and input.
func followerOf(v []driver.Value) follower {
	return follower{
		dep: idOf(v[0]), task: idOf(v[1]), n: v[2].(int64), need: omniq.Need(v[3].(int64)),
		ended: omniq.Status(v[4].(int64)), input: v[5] != int64(0),
	}
}

// tellSome tells the next ones of those that follow a task, and returns how many these are: less than a stride if there are no more.
// Those that do not wait any more are told, too, for their next life.
func (t *tx) tellSome(f *fallout) (int, error) {
	list := make([]follower, 0, stride)
	const q = "SELECT dep, task, n, need, ended, input FROM omniq_edges WHERE dep = ? AND (task, n) > (?, ?) ORDER BY task, n LIMIT ?"
	err := t.q.query(q, func(v []driver.Value) error {
		list = append(list, followerOf(v))
		return nil
	}, f.id[:], f.task[:], f.n, int64(stride))
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if err := t.tellEach(list, f); err != nil {
		return 0, err
	}
	last := &list[len(list)-1]
	f.task, f.n = last.task, last.n
	return len(list), nil
}

// tellDone notes in edges that are there that tasks were told of a success. An update of several can be planned otherwise, and an
// insertion cannot.
var tellDone = newMany("INSERT INTO omniq_edges (task, n, dep, need, input, ended) VALUES ", 6, " ON CONFLICT DO UPDATE SET ended = excluded.ended")

// tellEach tells followers of a task, or of several that have succeeded. Of an input that has succeeded nothing is noted: its result
// stays as long as somebody may ask how it has ended.
func (t *tx) tellEach(list []follower, f *fallout) error {
	var noted []driver.Value
	for i := range list {
		to := &list[i]
		switch {
		case to.ended == f.result.Status:
		case f.result.Status != omniq.StatusSuccess:
			if err := t.tellOne(to, f); err != nil {
				return err
			}
		default: // whatever it needs is met
			if to.ended == 0 {
				t.loose = append(t.loose, to.task)
			}
			if to.ended != 0 || !to.input {
				noted = append(noted, to.task[:], to.n, to.dep[:], int64(to.need), integer(to.input), int64(omniq.StatusSuccess))
			}
		}
	}
	return tellDone.exec(t.q, noted)
}

// tellOne tells a follower of a task that has ended without success.
func (t *tx) tellOne(to *follower, f *fallout) error {
	_, err := t.q.exec("UPDATE omniq_edges SET ended = ? WHERE dep = ? AND task = ? AND n = ?",
		int64(f.result.Status), to.dep[:], to.task[:], to.n)
	if err != nil || to.ended != 0 {
		return err
	}
	if to.need.Met(f.result.Status) {
		t.loose = append(t.loose, to.task)
		return nil
	}
	r, err := t.row(to.task)
	if err != nil || r == nil || r.state != stateWaiting || r.wake != 0 && r.wake <= t.us { // it expires
		return err
	}
	return t.block(r, f)
}

// countDown counts for how many tasks some wait, after some of those have ended.
var countDown = newMany("INSERT INTO omniq_waits (task, open) VALUES ", 2,
	" ON CONFLICT DO UPDATE SET open = open + excluded.open RETURNING task, open")

// releaseLoose counts of what the tasks were told that have waited, and makes those pending that wait for no other any more.
func (t *tx) releaseLoose() error {
	told := make(map[uuid.UUID]int64, len(t.loose))
	for _, id := range t.loose {
		told[id]++
	}
	values := make([]driver.Value, 0, 2*len(told))
	for _, id := range t.loose {
		if n := told[id]; n > 0 {
			values = append(values, id[:], -n)
			told[id] = 0
		}
	}
	var free []uuid.UUID
	t.loose = t.loose[:0]
	err := countDown.query(t.q, func(v []driver.Value) error {
		if v[1].(int64) <= 0 {
			free = append(free, idOf(v[0]))
		}
		return nil
	}, values)
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
		_, err := t.q.exec("INSERT OR REPLACE INTO omniq_fallout (id, status, name, result, task, n) VALUES (?, ?, ?, ?, ?, ?)",
			f.id[:], int64(f.result.Status), f.name, envelope, f.task[:], f.n)
		if err != nil {
			return err
		}
		t.left = true
	}
	t.fallout = nil
	return nil
}
