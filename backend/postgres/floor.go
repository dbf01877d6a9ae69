package postgres

import (
	"cmp"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// What is leased and settled leaves dead entries where the next lease begins to look, until a vacuum removes them. That
// takes as long as somebody holds an old snapshot in the database. A floor lets leases begin behind them.

const (
	slowLease   = time.Millisecond // of the database's time, from which on it is worth a floor
	floorFactor = 4                // how many times as long as such a lease a floor counts
)

// position is where a task stands in its queue.
type position struct {
	rank int64
	due  time.Time
	seq  int64
}

func (p position) compare(other position) int {
	return cmp.Or(cmp.Compare(p.rank, other.rank), p.due.Compare(other.due), cmp.Compare(p.seq, other.seq))
}

// floors are the positions behind which leases look for tasks, by queue. They count for a moment: what other processes
// put before them is late by that.
type floors struct {
	mu sync.Mutex
	of map[string]floor
}

type floor struct {
	position
	until time.Time
}

// begin returns where to begin in each queue, and whether that is behind the first position anywhere.
func (f *floors) begin(queues []string) (ranks list[int64], dues list[pgtype.Timestamptz], seqs list[int64], raised bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, q := range queues {
		rank, due, seq := int64(math.MinInt64), always, int64(0)
		if at, ok := f.of[q]; ok && now.Before(at.until) {
			rank, due, seq, raised = at.rank, timeOf(at.due), at.seq, true
		}
		ranks, dues, seqs = append(ranks, rank), append(dues, due), append(seqs, seq)
	}
	return ranks, dues, seqs, raised
}

// handed is told what a lease has handed out that began at the first position or, if raised, at floors.
func (f *floors) handed(got []leased, took time.Duration, raised bool) {
	if !raised && took < slowLease {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[string]floor)
	}
	until := time.Now().Add(floorFactor * took)
	for i := range got {
		at, ok := f.of[got[i].queue]
		if !raised && until.After(at.until) {
			at.until = until
		}
		if !ok || at.compare(got[i].position) < 0 {
			at.position = got[i].position
		}
		f.of[got[i].queue] = at
	}
}

// ready is told that this process has made a task ready, which does not wait for a floor. It is due now without a time.
func (f *floors) ready(queue string, rank int64, due time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.of[queue]
	if ok && (rank < at.rank || rank == at.rank && !due.IsZero() && due.Before(at.due)) {
		delete(f.of, queue)
	}
}

// drop lets leases begin at the first positions again.
func (f *floors) drop(queues []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range queues {
		delete(f.of, q)
	}
}
