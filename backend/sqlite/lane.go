package sqlite

import (
	"database/sql/driver"
	"errors"
	"time"

	"github.com/omniq-go/omniq/internal/engine"
)

// laned reports whether a queue has lanes.
func (t *tx) laned(queue string) (bool, error) {
	if t.bounds.laned == nil {
		laned := make(map[string]int64)
		err := t.q.query("SELECT queue, most FROM omniq_laned", func(v []driver.Value) error {
			laned[text(v[0])] = v[1].(int64)
			return nil
		})
		if err != nil {
			return false, err
		}
		t.bounds.laned = laned
	}
	_, ok := t.bounds.laned[queue]
	return ok, nil
}

// divide gives a queue lanes, unless it has them. What is counted of it so far has none.
func (t *tx) divide(queue string) error {
	laned, err := t.laned(queue)
	if err != nil || laned {
		return err
	}
	limit, err := t.limit(queue)
	if err != nil {
		return err
	}
	most := int64(0)
	if limit != nil {
		most = int64(limit.EachLane.Running)
	}
	if _, err := t.q.exec("INSERT INTO omniq_laned (queue, served, most) VALUES (?, 1, ?)", queue, most); err != nil {
		return err
	}
	t.bounds.laned[queue] = most
	ready, err := one(t.q, "SELECT n FROM omniq_counts WHERE queue = ? AND state = 1", queue)
	if err != nil {
		return err
	}
	running, err := t.running(queue)
	if err != nil {
		return err
	}
	ready += t.counts[count{queue, stateReady}]
	_, err = t.q.exec(`INSERT INTO omniq_lanes (queue, lane, ready, running, served, turn)
		VALUES (?1, '', ?2, ?3, 1, CASE WHEN ?2 > 0 THEN 1 END)`, queue, ready, running)
	return err
}

// shift counts a task in its lane that goes from one state to another, which may be no state of a task, before the counts of the
// queue do.
func (t *tx) shift(queue string, lane driver.Value, from, to int64) error {
	ready, running := integer(to == stateReady)-integer(from == stateReady), integer(to == stateRunning)-integer(from == stateRunning)
	if ready == 0 && running == 0 {
		return nil
	}
	name, has := lane.(string)
	if has {
		if err := t.divide(queue); err != nil {
			return err
		}
	} else if laned, err := t.laned(queue); err != nil || !laned {
		return err
	}
	if to == stateReady { // it comes after those that wait, if it has had nothing to do
		_, err := t.q.exec(`UPDATE omniq_laned SET served = served + 1 WHERE queue = ?1
			AND NOT EXISTS (SELECT 1 FROM omniq_lanes WHERE queue = ?1 AND lane = ?2 AND ready + running > 0)`, queue, name)
		if err != nil {
			return err
		}
	}
	return t.recountLane(queue, name, ready, running)
}

// mayRun is whether a lane, a row of omniq_lanes, has a ready task and a place for it; turnOf is its turn, if it is open.
const (
	mayRun = `ready > 0 AND (lane = '' OR running <
		(SELECT CASE most WHEN 0 THEN 9223372036854775807 ELSE most END FROM omniq_laned d WHERE d.queue = omniq_lanes.queue))`
	turnOf = "CASE WHEN opens IS NULL AND " + mayRun + " THEN served END"
)

// recountLane adds to what is counted of a lane. One that has been without tasks has the last turn.
func (t *tx) recountLane(queue, lane string, ready, running int64) error {
	_, err := t.q.exec(`INSERT INTO omniq_lanes (queue, lane, ready, running, served)
		VALUES (?1, ?2, ?3, ?4, (SELECT served FROM omniq_laned WHERE queue = ?1))
		ON CONFLICT DO UPDATE SET ready = ready + excluded.ready, running = running + excluded.running,
			served = CASE WHEN ready + running > 0 THEN served ELSE excluded.served END`, queue, lane, ready, running)
	if err != nil {
		return err
	}
	_, err = t.q.exec("UPDATE omniq_lanes SET turn = "+turnOf+" WHERE queue = ? AND lane = ?", queue, lane)
	return err
}

// holdBack lets no task of a lane be handed out for a time from now.
func (t *tx) holdBack(queue string, lane driver.Value, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := t.divide(queue); err != nil {
		return err
	}
	name, _ := lane.(string)
	if err := t.recountLane(queue, name, 0, 0); err != nil {
		return err
	}
	until := t.us + max(microseconds(d), 1)
	_, err := t.q.exec(`UPDATE omniq_lanes SET held = max(held, ?3), opens = max(coalesce(opens, 0), ?3), turn = NULL
		WHERE queue = ?1 AND lane = ?2`, queue, name, until)
	t.opensAt(until)
	return err
}

// reopen lets lanes have a turn again whose time has come.
func (t *tx) reopen() error {
	if t.reopened {
		return nil
	}
	t.reopened = true
	for {
		const few = 100
		n, err := t.q.exec("UPDATE omniq_lanes SET opens = NULL, turn = CASE WHEN "+mayRun+` THEN served END
			WHERE (queue, lane) IN (SELECT queue, lane FROM omniq_lanes WHERE opens <= ? ORDER BY opens LIMIT ?)`, t.us, int64(few))
		if err != nil || n < few {
			return err
		}
	}
}

// laneTurn is a lane whose turn it is.
type laneTurn struct {
	lane        string
	turn, used  int64
	ready, runs int64
	nothing     bool // there is none
}

// passedOver is how many lanes a call passes over that have no task with a name that the worker knows. Of each it looks at others.
const passedOver = 10

// leaseLanes hands out tasks of the lanes of a queue, as many as there is room for.
func (t *tx) leaseLanes(queue string, l *leasing, names driver.Value, limit *limited, room int) error {
	if err := t.reopen(); err != nil {
		return err
	}
	served, err := one(t.q, "SELECT served FROM omniq_laned WHERE queue = ?", queue)
	if err != nil {
		return err
	}
	first, after, passed := len(l.got), int64(-1<<62), 0
	for len(l.got)-first < room {
		now, err := t.nextTurn(queue, after)
		if err != nil {
			return err
		}
		if now.nothing {
			break
		}
		before := len(l.got)
		if err := t.chooseIn(queue, now.lane, l, names); err != nil {
			return err
		}
		if len(l.got) == before { // it has none that is wanted
			after = now.turn
			if passed++; names != nil && passed == passedOver {
				break
			}
			continue
		}
		served++
		if err := t.handLane(queue, l, &now, served, limit); err != nil {
			return err
		}
	}
	if len(l.got) == first {
		// That of another queue may come before: then the call looks once more.
		at, err := one(t.q, "SELECT opens FROM omniq_lanes INDEXED BY omniq_lanes_opens WHERE opens IS NOT NULL ORDER BY opens LIMIT 1")
		if at != 0 {
			t.opensAt(at)
		}
		return err
	}
	_, err = t.q.exec("UPDATE omniq_laned SET served = ? WHERE queue = ?", served, queue)
	return err
}

// nextTurn finds the lane that was served longest ago, of those after a turn.
func (t *tx) nextTurn(queue string, after int64) (found laneTurn, err error) {
	found.nothing = true
	err = t.q.query(`SELECT lane, turn, used, ready, running FROM omniq_lanes INDEXED BY omniq_lanes_turn
		WHERE queue = ? AND turn IS NOT NULL AND turn > ? ORDER BY turn LIMIT 1`, func(v []driver.Value) error {
		found = laneTurn{
			lane: text(v[0]), turn: v[1].(int64), used: v[2].(int64), ready: v[3].(int64), runs: v[4].(int64),
		}
		return nil
	}, queue, after)
	return found, err
}

// chooseIn finds the first task of a lane that can be handed out, and looks at few others.
func (t *tx) chooseIn(queue, lane string, l *leasing, names driver.Value) error {
	if lane == "" {
		most := l.most
		l.most = len(l.got) + 1
		err := t.choose(queue, l, names)
		l.most = most
		return err
	}
	const q = `SELECT seq, id, attempt, lost, shunned, CASE WHEN (?3 IS NULL OR name IN (SELECT value FROM json_each(?3)))
			AND (deadline IS NULL OR deadline > ?4) THEN task END, ties, due, name
		FROM omniq_tasks INDEXED BY omniq_tasks_ready WHERE state = 1 AND queue = ?1 AND lane = ?5
		ORDER BY priority DESC, due, seq LIMIT ?2`
	err := t.q.query(q, func(v []driver.Value) error {
		if !l.pick(v) {
			return nil
		}
		return errEnough
	}, queue, int64(others), names, t.us, lane)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// handLane hands out the last task that was chosen, of a lane, which is served by that.
func (t *tx) handLane(queue string, l *leasing, now *laneTurn, served int64, limit *limited) error {
	last := len(l.got) - 1
	l.got[last].started = engine.Starts(l.LeaseRequest, last, int(l.got[last].lost))
	if err := t.hand(queue, l.got[last:], l); err != nil {
		return err
	}
	t.add(queue, stateReady, -1)
	t.add(queue, stateRunning, 1)
	used, opens := now.used, driver.Value(nil)
	if limit != nil && limit.eachLane.Bounds() && now.lane != "" {
		used = limit.eachLane.Charge(used, t.us, 1)
		if at := limit.eachLane.Opens(used, t.us); at > t.us {
			opens = at
		}
	}
	var place driver.Value
	most := t.bounds.laned[queue]
	if now.ready > 1 && opens == nil && (now.lane == "" || most == 0 || now.runs+1 < most) {
		place = served
	}
	_, err := t.q.exec(`UPDATE omniq_lanes SET ready = ready - 1, running = running + 1, served = ?3, used = ?4, opens = ?5, turn = ?6
		WHERE queue = ?1 AND lane = ?2`, queue, now.lane, served, used, opens, place)
	return err
}

// unite takes lanes from queues that have only tasks without one, and nothing held back.
func (t *tx) unite() error {
	laned, err := one(t.q, "SELECT EXISTS (SELECT 1 FROM omniq_laned)")
	if err != nil || laned == 0 {
		return err
	}
	if err := t.reopen(); err != nil {
		return err
	}
	n, err := t.q.exec(`DELETE FROM omniq_laned WHERE NOT EXISTS
		(SELECT 1 FROM omniq_lanes l WHERE l.queue = omniq_laned.queue AND (l.lane > '' OR l.opens IS NOT NULL))`)
	if err != nil || n == 0 {
		return err
	}
	t.bounds.laned = nil
	_, err = t.q.exec("DELETE FROM omniq_lanes WHERE lane = '' AND NOT EXISTS (SELECT 1 FROM omniq_laned d WHERE d.queue = omniq_lanes.queue)")
	return err
}
