package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// recountEvery is how often the counts are compared with what there is: SQL may have removed rows.
const recountEvery = 5 * time.Minute

// counts are the statements that count what there is, from indexes alone.
var counts = []string{
	"SELECT queue, 0, count(*) FROM omniq_tasks INDEXED BY omniq_tasks_scheduled WHERE state = 0 GROUP BY queue",
	"SELECT queue, 1, count(*) FROM omniq_tasks INDEXED BY omniq_tasks_ready WHERE state = 1 GROUP BY queue",
	"SELECT queue, 2, count(*) FROM omniq_tasks INDEXED BY omniq_tasks_running WHERE state = 2 GROUP BY queue",
	"SELECT queue, 7, count(*) FROM omniq_tasks INDEXED BY omniq_tasks_waiting WHERE state = 7 GROUP BY queue",
	"SELECT queue, status, count(*) FROM omniq_results INDEXED BY omniq_results_queue GROUP BY queue, status",
}

// recount corrects the counts, unless another call does, or one has failed a short time ago.
func (b *Backend) recount() {
	now := time.Now()
	if now.UnixNano() < b.recountNext.Load() || !b.recounting.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer b.recounting.Store(false)
		if err := b.correct(b.life); err != nil && b.life.Err() == nil {
			b.recountNext.Store(now.Add(b.config.recount).UnixNano())
			b.config.logger.Warn("sqlite: the counts of tasks could not be compared with the tasks", logkey.Error, err)
		}
	}()
}

// correct adds to the counts what they differ by from what there is. Both are read in one transaction, and each that
// changes one changes the other: the difference stays what it is until somebody adds it, which is done once.
func (b *Backend) correct(ctx context.Context) error {
	var at int64
	var differ map[count]int64
	var lanes laneCounts
	err := b.read(ctx, func(c *conn) error {
		return c.snapshot(func() (err error) {
			differ = make(map[count]int64)
			if at, err = one(c, "SELECT at FROM omniq_counted"); err != nil {
				return err
			}
			add := func(sign int64) func(v []driver.Value) error {
				return func(v []driver.Value) error {
					differ[count{text(v[0]), v[1].(int64)}] += sign * v[2].(int64)
					return nil
				}
			}
			if err := c.query("SELECT queue, state, n FROM omniq_counts", add(-1)); err != nil {
				return err
			}
			for _, q := range counts {
				if err := c.query(q, add(1)); err != nil {
					return err
				}
			}
			lanes, err = differingLanes(c)
			return err
		})
	})
	if err != nil {
		return err
	}
	return b.write(ctx, func(t *tx) error {
		n, err := t.q.exec("UPDATE omniq_counted SET at = ? WHERE at = ?", max(t.us, at+1), at)
		if err != nil || n == 0 { // another process was first
			return err
		}
		for c, n := range differ {
			t.add(c.queue, c.state, n)
		}
		return t.correctLanes(lanes)
	})
}

type laneKey struct{ queue, lane string }

type laneCount struct{ ready, running int64 }

// laneCounts are by how much there is more in lanes than is counted of them.
type laneCounts struct {
	differ map[laneKey]laneCount
	laned  map[string]bool // the queues that had lanes
}

func differingLanes(c *conn) (laneCounts, error) {
	differ, laned := make(map[laneKey]laneCount), make(map[string]bool)
	err := c.query("SELECT queue FROM omniq_laned", func(v []driver.Value) error { laned[text(v[0])] = true; return nil })
	if err != nil {
		return laneCounts{}, err
	}
	for _, q := range []struct {
		query string
		add   func(n *laneCount, v []driver.Value)
	}{
		{
			"SELECT queue, coalesce(lane, ''), count(*) FROM omniq_tasks INDEXED BY omniq_tasks_ready WHERE state = 1 GROUP BY queue, lane",
			func(n *laneCount, v []driver.Value) { n.ready += v[2].(int64) },
		},
		{
			`SELECT queue, coalesce(lane, ''), count(*) FROM omniq_tasks INDEXED BY omniq_tasks_running WHERE state = 2 GROUP BY queue, lane`,
			func(n *laneCount, v []driver.Value) { n.running += v[2].(int64) },
		},
		{
			"SELECT queue, lane, ready, running FROM omniq_lanes ORDER BY queue, lane",
			func(n *laneCount, v []driver.Value) {
				n.ready, n.running = n.ready-v[2].(int64), n.running-v[3].(int64)
			},
		},
	} {
		err := c.query(q.query, func(v []driver.Value) error {
			key := laneKey{text(v[0]), text(v[1])}
			n := differ[key]
			q.add(&n, v)
			differ[key] = n
			return nil
		})
		if err != nil {
			return laneCounts{}, err
		}
	}
	return laneCounts{differ, laned}, nil
}

// correctLanes adds to what is counted of lanes. A queue that has got lanes since, or has none any more, is left for the next
// time: what differs is not known of it.
func (t *tx) correctLanes(lanes laneCounts) error {
	divided := make(map[string]bool)
	for key, n := range lanes.differ {
		had := lanes.laned[key.queue]
		if n == (laneCount{}) || key.lane == "" && !had {
			continue
		}
		has, err := t.laned(key.queue)
		if err != nil {
			return err
		}
		if has != had && !divided[key.queue] {
			continue
		}
		if !had { // then these are counted as tasks without a lane
			divided[key.queue] = true
			if err := t.divide(key.queue); err != nil {
				return err
			}
			if err := t.recountLane(key.queue, "", -n.ready, -n.running); err != nil {
				return err
			}
		}
		// No two have the same turn.
		if _, err := t.q.exec("UPDATE omniq_laned SET served = served + 1 WHERE queue = ?", key.queue); err != nil {
			return err
		}
		if err := t.recountLane(key.queue, key.lane, n.ready, n.running); err != nil {
			return err
		}
		t.ready[key.queue] = true
	}
	return nil
}

// recountIsDue reports whether it is time to compare the counts again.
func (t *tx) recountIsDue() (bool, error) {
	at, err := one(t.q, "SELECT at FROM omniq_counted")
	return at > t.us || t.us-at >= t.config.recount.Microseconds(), err
}
