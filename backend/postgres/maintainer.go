package postgres

import (
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq/internal/logkey"
)

const minPause = 5 * time.Millisecond // between two passes

// maintainer does what happens to tasks by itself at its time, and removes what is over.
type maintainer struct {
	b     *Backend
	poked chan struct{}
	looks time.Time // when it looks for those who wait

	mu    sync.Mutex
	next  time.Time          // when it works again unless it is poked
	since pgtype.Timestamptz // a time until which all was done, by the database's clock

	// See counts.go.
	counted time.Time     // when the numbers of tasks and results were compared with the tables
	took    time.Duration // how long that took
	healing bool          // it is going on
	recount bool          // the numbers have been seen to be wrong
}

func newMaintainer(b *Backend) *maintainer {
	return &maintainer{b: b, poked: make(chan struct{}, 1), since: always, counted: time.Now()}
}

// poke lets it work in d at the latest.
func (m *maintainer) poke(d time.Duration) {
	m.mu.Lock()
	sooner := time.Now().Add(d).Before(m.next)
	m.mu.Unlock()
	if sooner {
		select {
		case m.poked <- struct{}{}:
		default:
		}
	}
}

// horizon is a time before which there is nothing left to do, so that a lease need not look there. What happens to a
// task by itself is never earlier than the transaction that decided on it; margin is for how long that usually takes, and
// what took longer is found by the next pass.
func (m *maintainer) horizon() pgtype.Timestamptz {
	const margin = time.Second
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since.InfinityModifier != pgtype.Finite {
		return m.since
	}
	return timeOf(m.since.Time.Add(-margin))
}

// run works until the backend is closed.
func (m *maintainer) run() {
	failed := false
	for {
		next, err := m.pass()
		if m.b.ctx.Err() != nil {
			return
		}
		if err != nil {
			m.b.hub.wakeAll() // they see for themselves
		}
		if err != nil && !failed {
			m.b.config.logger.Warn("postgres: due and expired tasks wait until the database answers", logkey.Error, err)
		}
		if failed = err != nil; failed {
			next = m.b.config.poll
		}
		pause := min(max(next, minPause), m.b.config.poll, sweepEvery)
		m.mu.Lock()
		m.next = time.Now().Add(pause)
		m.mu.Unlock()
		select {
		case <-time.After(pause):
			continue
		case <-m.poked:
		case <-m.b.ctx.Done():
			return
		}
		select { // whoever pokes often is not answered as often
		case <-time.After(minPause):
		case <-m.b.ctx.Done():
			return
		}
	}
}

// What there is to do: a process that is idle asks for nothing else.
const findWork = `SELECT {now}, EXISTS (SELECT FROM {s}.work WHERE at <= {now}),
	EXISTS (SELECT FROM {s}.tasks WHERE wake <= {now}) OR EXISTS (SELECT FROM {s}.tasks WHERE state < 2 AND deadline <= {now}),
	(extract(epoch FROM least((SELECT min(wake) FROM {s}.tasks WHERE wake > {now} AND wake < 'infinity'),
		(SELECT min(deadline) FROM {s}.tasks WHERE state < 2 AND deadline > {now} AND deadline < 'infinity'),
		(SELECT min(at) FROM {s}.work WHERE at > {now})) - {now}) * 1000000)::bigint`

// pass does what is to be done now, and returns how long there is nothing more.
func (m *maintainer) pass() (time.Duration, error) {
	var now time.Time
	var work, due bool
	var next *int64
	var r rubbish
	ctx, cancel := bounded(m.b.ctx)
	defer cancel()
	err := m.b.read(ctx,
		append(m.look(),
			stmt{sql: m.b.sql.of(findWork), row: func(row scanner) error { return row.Scan(&now, &work, &due, &next) }},
			r.find(m.b))...)
	for due, work := due, work; (due || work) && err == nil; {
		if due {
			due, err = m.b.wakeSome(m.b.ctx)
		}
		if work && err == nil {
			work, err = m.b.workOn(m.b.ctx)
		}
	}
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	m.since = timeOf(now)
	m.mu.Unlock()
	if err := m.b.sweep(m.b.ctx, r); err != nil {
		return 0, err
	}
	m.heal()
	switch {
	case due || work: // there may be something by now
		return 0, nil
	case next != nil:
		return time.Duration(*next) * time.Microsecond, nil
	}
	return math.MaxInt64, nil
}
