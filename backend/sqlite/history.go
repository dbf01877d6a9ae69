package sqlite

import (
	"context"
	"database/sql/driver"
	"maps"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// tally is what a transaction has done with the tasks of a queue that call a function.
type tally struct {
	engine.Place
	n         [omniq.EventExpired + 1]int64 // by what an event tells
	wait, run time.Duration
}

type tallies map[engine.Place]*tally

func (y tallies) at(place engine.Place) *tally {
	if y[place] == nil {
		y[place] = &tally{Place: place}
	}
	return y[place]
}

func (y tallies) clone() tallies {
	all := maps.Clone(y)
	for key, one := range all {
		all[key] = new(*one)
	}
	return all
}

// tally returns what is counted of tasks.
func (t *tx) tally(queue, name string) *tally {
	place := engine.Place{Queue: queue, Name: name}
	if t.last == nil || t.last.Place != place {
		t.last = t.tallies.at(place)
	}
	return t.last
}

// started counts for how long a task had been due that starts.
func (y *tally) started(now, due int64) {
	y.wait = engine.AddTime(y.wait, engine.Waited(time.UnixMicro(now), time.UnixMicro(due)))
}

// ran counts for how long a handler ran.
func (y *tally) ran(took time.Duration) { y.run = engine.AddTime(y.run, took) }

// storeTallies stores what was done: a row for a minute, a queue and a function, however many tasks there are.
func (t *tx) storeTallies() error {
	minute := engine.MinuteOf(t.us)
	all := make(tallies, len(t.tallies))
	for place, y := range t.tallies {
		all.at(t.config.places.Of(minute, place)).add(y)
	}
	values := make([]driver.Value, 0, 12*len(all))
	for place, y := range all {
		values = append(values, minute, place.Queue, place.Name, y.n[omniq.EventEnqueued], y.n[omniq.EventStarted],
			y.n[omniq.EventCompleted], y.n[omniq.EventFailed], y.n[omniq.EventRetried], y.n[omniq.EventCancelled],
			y.n[omniq.EventExpired], y.wait.Microseconds(), y.run.Microseconds())
	}
	t.tallies, t.last = make(tallies), nil
	return addTallies.exec(t.q, values)
}

// Times stay in what a [time.Duration] can tell: beyond it a sum would be one that the columns refuse, and with it what is counted.
var addTallies = newMany("INSERT INTO omniq_history (minute, queue, name, enqueued, started, succeeded, failed, retried, cancelled, expired, wait, run) VALUES ",
	12, ` ON CONFLICT DO UPDATE SET enqueued = enqueued + excluded.enqueued, started = started + excluded.started,
		succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, retried = retried + excluded.retried,
		cancelled = cancelled + excluded.cancelled, expired = expired + excluded.expired, wait = min(wait + excluded.wait, 9223372036854775),
		run = min(run + excluded.run, 9223372036854775)`)

func (y *tally) add(other *tally) {
	for i, n := range other.n {
		y.n[i] += n
	}
	y.wait, y.run = engine.AddTime(y.wait, other.wait), engine.AddTime(y.run, other.run)
}

// History tells what was done with tasks: see [omniq.Monitor].
func (b *Backend) History(ctx context.Context, last time.Duration) (list []omniq.Minute, err error) {
	if err := engine.CheckHistory(last); err != nil {
		return nil, err
	}
	err = b.caughtUp(ctx, func(c *conn) error {
		const q = `SELECT minute, queue, name, enqueued, started, succeeded, failed, retried, cancelled, expired, wait, run
			FROM omniq_history WHERE minute > ? ORDER BY minute, queue, name`
		list = nil
		from := engine.HistoryFrom(b.config.clock().UnixMicro(), last) - time.Minute.Microseconds()
		return c.query(q, func(v []driver.Value) error {
			list = engine.AppendMinute(list, omniq.Minute{
				Start: moment(v[0]), Queue: text(v[1]), FuncName: text(v[2]),
				Enqueued: int(v[3].(int64)), Started: int(v[4].(int64)), Succeeded: int(v[5].(int64)), Failed: int(v[6].(int64)),
				Retried: int(v[7].(int64)), Cancelled: int(v[8].(int64)), Expired: int(v[9].(int64)),
				Wait: engine.Spent(v[10].(int64)), Run: engine.Spent(v[11].(int64)),
			})
			return nil
		}, from)
	})
	return list, err
}
