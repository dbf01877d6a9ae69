package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// A process that always has something to write leaves the file alone for turnPause after each turn. Others look for
	// the lock at least that often.
	turn      = 25 * time.Millisecond
	turnPause = 500 * time.Microsecond
	lockPause = 300 * time.Microsecond
)

// unknown is who keeps the lock if it is not this process's writer or a transaction of its [Backend.DB].
const unknown = "another process, or a transaction of another pool of this one, keeps it"

// turns lets one write at a time in this process: the writer or a transaction of [Backend.DB]. The writer waits for one
// transaction at the most, and transactions take turns with it in the order in which they came.
type turns struct {
	mu      sync.Mutex
	busy    bool
	callers bool      // it is a caller's
	since   time.Time // when its transaction has begun; zero before
	writer  chan struct{}
	queue   []chan struct{} // of callers
	passed  time.Time       // when the last turn ended
	alone   time.Time       // when the file was left alone last
}

// take waits for a turn until the context ends.
func (t *turns) take(ctx context.Context, caller bool) error {
	t.mu.Lock()
	if !t.busy {
		t.begin(caller)
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	if caller {
		t.queue = append(t.queue, mine)
	} else {
		t.writer = mine
	}
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch i := slices.Index(t.queue, mine); {
	case i >= 0:
		t.queue = slices.Delete(t.queue, i, i+1)
	case t.writer == mine:
		t.writer = nil
	default: // it was given in between
		t.next()
	}
	return ctx.Err()
}

func (t *turns) begin(caller bool) { t.busy, t.callers, t.since = true, caller, time.Time{} }

// begun notes that who has the turn has got the lock.
func (t *turns) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
}

// pass ends a turn.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

func (t *turns) next() {
	t.passed = time.Now()
	var mine chan struct{}
	switch {
	case len(t.queue) > 0 && (!t.callers || t.writer == nil):
		mine, t.queue = t.queue[0], t.queue[1:]
		t.begin(true)
	case t.writer != nil:
		mine, t.writer = t.writer, nil
		t.begin(false)
	default:
		t.busy = false
		return
	}
	close(mine)
}

// rest is how long who has the turn must leave the file alone before it uses it, for the sake of other processes, who
// can only look again and again whether it is free.
func (t *turns) rest() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch now := time.Now(); {
	case now.Sub(t.passed) >= turnPause:
		t.alone = now
	case now.Sub(t.alone) >= turn:
		t.alone = now.Add(turnPause)
		return turnPause
	}
	return 0
}

// holder says whose transaction keeps others from writing, as far as that is known.
func (t *turns) holder() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.busy || !t.callers || t.since.IsZero() {
		return unknown
	}
	return fmt.Sprintf("a transaction of Backend.DB in this process keeps it, which has been open for %v, since %s",
		time.Since(t.since).Round(time.Millisecond), t.since.Format("15:04:05.000"))
}

// lock takes a turn and calls begin, which begins to write, until the file is not locked by others: SQLite's own wait has
// pauses of up to 100 ms. It waits no longer than the backend's time for locks, until ctx ends or the backend is closed.
// Without an error the turn is to be passed.
func (b *Backend) lock(ctx context.Context, caller bool, begin func() error) error {
	waiting, cancel := context.WithTimeout(ctx, b.config.lockWait)
	defer cancel()
	stop := context.AfterFunc(b.life, cancel)
	defer stop()
	if err := b.turns.take(waiting, caller); err != nil {
		return b.lockError(ctx, b.turns.holder())
	}
	err := b.begin(waiting, begin)
	if err == nil {
		return nil
	}
	b.turns.pass()
	if isBusy(err) {
		return b.lockError(ctx, unknown)
	}
	return err
}

// begin calls begin until the file is not locked or the context ends.
func (b *Backend) begin(ctx context.Context, begin func() error) error {
	if d := b.turns.rest(); d > 0 {
		time.Sleep(d)
	}
	for pause := 50 * time.Microsecond; ; pause = min(pause*3/2, lockPause) {
		err := begin()
		if !isBusy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// lockError is the error of who has not got the lock.
func (b *Backend) lockError(ctx context.Context, holder string) error {
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case b.life.Err() != nil:
		return context.Cause(b.life)
	}
	return fmt.Errorf("%w: %s: for %v; %s", ErrLocked, b.path, b.config.lockWait, holder)
}

// isBusy reports whether somebody else has locked the file. A transaction that has begun with reading and is too late to
// write is another matter: it can only be begun again.
func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY && e.Code() != sqlite3.SQLITE_BUSY_SNAPSHOT
}
