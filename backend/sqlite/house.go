package sqlite

import (
	"database/sql/driver"
	"math"
	"slices"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// What happens by itself is written down in small steps, so that no transaction keeps the others waiting: however many
// tasks, leases or results have the same moment.
const (
	allowance = 10 * time.Millisecond // of a transaction, for tasks, for leases that need them at once, and for what is gone: at the most
	stride    = 32                    // rows in a step
)

// pace is how much of the allowance a transaction gets: less where the disk takes long to commit what was done in it, or
// others keep the machine busy.
type pace struct{ allowed time.Duration }

// took is told how long a transaction had the file for what happens by itself.
func (p *pace) took(d, allowance time.Duration) {
	const most, least = 30 * time.Millisecond, time.Millisecond
	switch {
	case d > most:
		p.allowed = max(p.allowed/2, min(least, allowance))
	case d < most/2:
		p.allowed = min(p.allowed+p.allowed/4+1, allowance)
	}
}

// within does a step after the other, at least one if there is any time left, until there is no more or the time is used
// up. done reports that there is no more.
func within(left *time.Duration, do func() (more bool, err error)) (done bool, err error) {
	began := time.Now()
	end := began.Add(*left)
	defer func() { *left -= time.Since(began) }()
	for more := *left > 0; more; more = time.Now().Before(end) {
		if more, err := do(); err != nil || !more {
			return true, err
		}
	}
	return false, nil
}

// advance does what was to happen to tasks by itself until now, or as much of it as one transaction may.
func (t *tx) advance() error {
	const q = "SELECT " + taskColumns + `, CASE WHEN deadline <= ?1 THEN task END
		FROM omniq_tasks WHERE wake <= ?1 ORDER BY wake, seq LIMIT ?2`
	left := t.allowed
	done, err := within(&left, func() (bool, error) {
		n, err := t.happenAll(q, t.us, int64(stride))
		return n == stride, err
	})
	t.behind = !done
	return err
}

// happenAll does what was to happen to the tasks that a query finds, and returns how many there are.
func (t *tx) happenAll(q string, args ...driver.Value) (n int, err error) {
	var list []task
	if err := t.q.query(q, rows(&list), args...); err != nil {
		return 0, err
	}
	for i := range list {
		if err := t.happen(&list[i]); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// happen does what was to happen to a task: its lease ran out, it has expired, or it is due.
func (t *tx) happen(r *task) error {
	if r.started {
		r.lost++
	}
	r.token = 0
	deadline, expires := r.deadline.(int64)
	switch {
	case expires && deadline <= t.us:
		return t.end(r, omniq.StatusExpired)
	case r.state == stateRunning:
		r.due = t.us + engine.Pause(int(r.lost)).Microseconds()
		return t.pend(r, false, nil)
	case r.state == stateWaiting: // SQL has written its wake
		_, err := t.q.exec("UPDATE omniq_tasks SET wake = deadline WHERE seq = ?", r.seq)
		return err
	}
	state, wake := t.place(r.due, r.deadline)
	_, err := t.q.exec("UPDATE omniq_tasks SET state = ?, wake = ? WHERE seq = ?", state, wake, r.seq)
	if err != nil {
		return err
	}
	return t.move(r, r.state, state)
}

// catchUp does what was to happen to the first n tasks of a queue in the order in which they are leased, when not all
// has been done that was to happen. done reports that it was not too much.
func (t *tx) catchUp(queue string, n int) (done bool, err error) {
	done, err = t.raise(queue, n)
	if err != nil || !done {
		return done, err
	}
	const first = "SELECT " + taskColumns + `, CASE WHEN deadline <= ?1 THEN task END, deadline <= ?1 FROM omniq_tasks
		WHERE state = 1 AND lane IS NULL AND queue = ?2 ORDER BY priority DESC, due, seq LIMIT ?3`
	return within(&t.spare, func() (more bool, err error) {
		var list []task
		err = t.q.query(first, func(v []driver.Value) error {
			if v[columnsOfTask+1] == int64(1) {
				return rows(&list)(v)
			}
			return nil
		}, t.us, queue, int64(max(n, stride)))
		if err != nil {
			return false, err
		}
		for i := range list {
			if err := t.end(&list[i], omniq.StatusExpired); err != nil {
				return false, err
			}
		}
		return len(list) > 0, nil
	})
}

// raise makes those of a queue ready that are due, as far as they are among the first n.
func (t *tx) raise(queue string, n int) (done bool, err error) {
	const (
		next = "SELECT priority FROM omniq_tasks WHERE state = 0 AND queue = ? AND priority <= ? ORDER BY priority DESC LIMIT 1"
		due  = "SELECT " + taskColumns + `, CASE WHEN deadline <= ?1 THEN task END FROM omniq_tasks
			WHERE state = 0 AND queue = ?2 AND priority = ?3 AND due <= ?1 ORDER BY due, seq LIMIT ?4`
	)
	priority, before := int64(math.MaxInt64), t.counts[count{queue, stateReady}]
	return within(&t.spare, func() (more bool, err error) {
		found := false
		err = t.q.query(next, func(v []driver.Value) error { priority, found = v[0].(int64), true; return nil }, queue, priority)
		if err != nil || !found {
			return false, err
		}
		got, err := t.happenAll(due, t.us, queue, priority, int64(stride))
		if t.counts[count{queue, stateReady}]-before >= int64(n) {
			return false, err
		}
		if got < stride { // there are no more of this priority
			if priority == math.MinInt64 {
				return false, err
			}
			priority--
		}
		return true, err
	})
}

// garbage is what is gone at some time: how it is found, with the time ?1 and the number ?2 of rows, and how one of these
// is removed. What is found is what removes it, and then, for a result, where it was counted.
type garbage struct {
	find, remove string
	keys         int
	kept         bool // for a moment, for those in other processes who have waited for it
}

var garbages = []garbage{
	{
		`SELECT seq, queue, status, ties, id FROM omniq_results INDEXED BY omniq_results_expires
			WHERE expires <= ?1 ORDER BY expires LIMIT ?2`,
		"DELETE FROM omniq_results WHERE seq = ?", 1, true,
	},
	{
		"SELECT name, key FROM omniq_unique INDEXED BY omniq_unique_until WHERE until <= ?1 ORDER BY until LIMIT ?2",
		"DELETE FROM omniq_unique WHERE name = ? AND key = ?", 2, false,
	},
	{
		`SELECT worker, id, token FROM omniq_revoked INDEXED BY omniq_revoked_until WHERE until <= ?1 ORDER BY until LIMIT ?2`,
		"DELETE FROM omniq_revoked WHERE worker = ? AND id = ? AND token = ?", 3, false,
	},
	{
		`SELECT queue, lane FROM omniq_lanes INDEXED BY omniq_lanes_idle
			WHERE ready = 0 AND running = 0 AND lane <> '' AND used <= ?1 AND held <= ?1 ORDER BY used LIMIT ?2`,
		"DELETE FROM omniq_lanes WHERE queue = ? AND lane = ?", 2, false,
	},
	{"SELECT id FROM omniq_workers INDEXED BY omniq_workers_until WHERE until <= ?1 ORDER BY until LIMIT ?2", "DELETE FROM omniq_workers WHERE id = ?", 1, false},
	{
		"SELECT minute, queue, name FROM omniq_history WHERE minute <= ?1 - 86460000000 ORDER BY minute LIMIT ?2", // HistoryKept, and the minute itself
		"DELETE FROM omniq_history WHERE minute = ? AND queue = ? AND name = ?", 3, false,
	},
	// No event goes before an older one.
	{
		`SELECT seq FROM (SELECT seq, max(until) OVER (ORDER BY seq) AS latest FROM
			(SELECT seq, until FROM omniq_events ORDER BY seq LIMIT ?2)) WHERE latest <= ?1`,
		"DELETE FROM omniq_events WHERE seq = ?", 1, false,
	},
}

// sweep removes some of what is gone, and reports whether there may be more.
func (t *tx) sweep() (more bool, err error) {
	left := t.allowed
	for i := range garbages {
		left = max(left, 1) // a step at least
		done, err := within(&left, func() (bool, error) { return t.collect(&garbages[i]) })
		if err != nil {
			return false, err
		}
		more = more || !done
	}
	if err := t.unite(); err != nil {
		return false, err
	}
	if !more { // what is removed may make room yet
		if more, err = t.shrink(&left); err != nil {
			return false, err
		}
	}
	if t.recount, err = t.recountIsDue(); err != nil {
		return false, err
	}
	if t.review, err = t.reviewIsDue(); err != nil {
		return false, err
	}
	_, err = t.q.exec("DELETE FROM omniq_counts WHERE n = 0")
	return more, err
}

// A file gives back what is free in it beyond as much as is used, and beyond spareBytes: that is room for the next tasks.
const (
	spareBytes = 512 << 10
	freedPages = 64 // at once
	freePages  = "PRAGMA incremental_vacuum(64)"
)

// shrink gives some of what is free in the file back, and reports whether there may be more. A file that was made by another program,
// or by a version of before, keeps what it has: see [Open].
func (t *tx) shrink(left *time.Duration) (more bool, err error) {
	var size, pages, free, form int64
	err = t.q.query("SELECT p.page_size, c.page_count, f.freelist_count, a.auto_vacuum FROM pragma_page_size p, pragma_page_count c, pragma_freelist_count f, pragma_auto_vacuum a",
		func(v []driver.Value) error {
			size, pages, free, form = v[0].(int64), v[1].(int64), v[2].(int64), v[3].(int64)
			return nil
		})
	const incremental = 2
	surplus := min(free-(pages-free), free-spareBytes/max(size, 1))
	if err != nil || form != incremental || surplus <= 0 {
		return false, err
	}
	*left = max(*left, 1) // a step at least
	done, err := within(left, func() (bool, error) {
		_, err := t.q.exec(freePages)
		t.shrunk = true
		surplus -= freedPages
		return surplus > 0, err
	})
	return !done, err
}

// collect removes some garbage, and reports whether there may be more.
func (t *tx) collect(g *garbage) (more bool, err error) {
	until := t.us
	if g.kept {
		until -= max(4*t.config.poll, time.Second).Microseconds()
	}
	var found [][]driver.Value
	err = t.q.query(g.find, func(v []driver.Value) error { found = append(found, slices.Clone(v)); return nil }, until, int64(stride))
	if err != nil {
		return false, err
	}
	most := 8 * stride // of what is kept beside results
	for _, v := range found {
		if g.kept {
			all, err := t.untie(idOf(v[4]), v[3].(int64), &most)
			if err != nil {
				return false, err
			}
			if !all {
				return true, nil
			}
		}
		if _, err := t.q.exec(g.remove, v[:g.keys]...); err != nil {
			return false, err
		}
		if g.kept {
			t.add(text(v[1]), v[2].(int64), -1)
		}
	}
	return len(found) == stride, nil
}
