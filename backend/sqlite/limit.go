package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// bounds is what a transaction knows of the limits and lanes of queues. The writer keeps it as long as nobody else can have changed
// anything.
type bounds struct {
	limits map[string]*limited // nil if they are to be read
	laned  map[string]int64    // how many tasks of each lane may run at once, of the queues that have lanes; nil if they are to be read
}

// limited is the limit of a queue.
type limited struct {
	omniq.Limit
	pace, eachLane engine.Pace
}

// limit returns the limit of a queue, nil for none.
func (t *tx) limit(queue string) (*limited, error) {
	if t.bounds.limits == nil {
		limits := make(map[string]*limited)
		err := t.q.query("SELECT queue, bounds FROM omniq_limits", func(v []driver.Value) error {
			l := new(limited)
			if err := l.UnmarshalText([]byte(text(v[1]))); err != nil {
				return nil // SQL has written it: it bounds nothing
			}
			l.pace, l.eachLane = engine.PaceOf(l.Rate), engine.PaceOf(l.EachLane.Rate)
			limits[text(v[0])] = l
			return nil
		})
		if err != nil {
			return nil, err
		}
		t.bounds.limits = limits
	}
	return t.bounds.limits[queue], nil
}

// SetLimit bounds what runs of a queue: see [omniq.TaskQueue].
func (b *Backend) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if err := engine.CheckLimit(queue, limit); err != nil {
		return err
	}
	queue = cmp.Or(queue, omniq.DefaultQueue)
	return b.write(ctx, func(t *tx) error {
		t.bounds.limits = nil
		t.ready[queue] = true
		pace := engine.PaceOf(limit.Rate)
		var err error
		if limit == (omniq.Limit{}) {
			_, err = t.q.exec("DELETE FROM omniq_limits WHERE queue = ?", queue)
		} else {
			_, err = t.q.exec(`INSERT INTO omniq_limits (queue, bounds) VALUES (?1, ?2)
				ON CONFLICT DO UPDATE SET bounds = excluded.bounds, used = min(used, ?3)`, queue, limit.String(), pace.Carry(1<<62, t.us))
		}
		if err != nil {
			return err
		}
		return t.rebind(queue, limit)
	})
}

// rebind carries the lanes of a queue over to another limit.
func (t *tx) rebind(queue string, limit omniq.Limit) error {
	laned, err := t.laned(queue)
	if err != nil || !laned {
		return err
	}
	most := int64(limit.EachLane.Running)
	t.bounds.laned[queue] = most
	if _, err := t.q.exec("UPDATE omniq_laned SET most = ? WHERE queue = ?", most, queue); err != nil {
		return err
	}
	pace := engine.PaceOf(limit.EachLane.Rate)
	used := pace.Carry(1<<62, t.us)
	_, err = t.q.exec(`UPDATE omniq_lanes SET used = min(used, ?2), opens = nullif(max(held, min(used, ?2) - ?3, ?4), ?4)
		WHERE queue = ?1`, queue, used, pace.Ahead(), t.us)
	if err != nil {
		return err
	}
	_, err = t.q.exec("UPDATE omniq_lanes SET turn = "+turnOf+" WHERE queue = ?", queue)
	return err
}

// running is how many tasks of a queue have a lease.
func (t *tx) running(queue string) (int64, error) {
	n, err := one(t.q, "SELECT n FROM omniq_counts WHERE queue = ? AND state = 2", queue)
	return n + t.counts[count{queue, stateRunning}], err
}

// freed lets calls look again that wait for a place in a queue of which a lease has ended.
func (t *tx) freed(queue string) error {
	l, err := t.limit(queue)
	if err == nil && l != nil && l.BoundsRunning() {
		t.ready[queue] = true
	}
	return err
}

// leaseBounded hands out what is ready in a queue that has a limit, or lanes.
func (t *tx) leaseBounded(queue string, l *leasing, names driver.Value, limit *limited, laned bool) error {
	var used int64
	room := l.most - len(l.got)
	if limit != nil && limit.BoundsRunning() {
		now := l.Max - l.Ahead - len(l.got) // what is taken ahead would keep places from others
		l.spared = l.spared || now <= 0
		room = min(room, now)
	}
	if limit != nil && limit.Running > 0 {
		n, err := t.running(queue)
		if err != nil {
			return err
		}
		room = min(room, int(max(int64(limit.Running)-n, 0)))
	}
	if limit != nil && limit.pace.Bounds() {
		var err error
		if used, err = one(t.q, "SELECT used FROM omniq_limits WHERE queue = ?", queue); err != nil {
			return err
		}
		n := limit.pace.Room(used, t.us)
		if n <= 0 {
			t.opensAt(limit.pace.Opens(used, t.us))
		}
		room = int(min(int64(room), n))
	}
	first := len(l.got)
	var err error
	switch {
	case room <= 0:
		return nil
	case laned:
		err = t.leaseLanes(queue, l, names, limit, room)
	default:
		l.most = first + room
		err = t.leaseOf(queue, l, names)
	}
	n := int64(len(l.got) - first)
	if err == nil && n > 0 && limit != nil && limit.pace.Bounds() {
		_, err = t.q.exec("UPDATE omniq_limits SET used = ? WHERE queue = ?", limit.pace.Charge(used, t.us, n), queue)
	}
	return err
}

// opensAt notes that calls are to look again at a time: a rate or a hold lets a task be handed out then.
func (t *tx) opensAt(at int64) {
	if t.opens == 0 || at < t.opens {
		t.opens = at
	}
}
