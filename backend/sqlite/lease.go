package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
	"github.com/omniq-go/omniq/internal/logkey"
)

// others is how many tasks are looked at beside those that are handed out, for some with a name that the worker knows.
const others = 100

// leased is a task that was handed out.
type leased struct {
	seq, due      int64
	id            uuid.UUID
	attempt, lost int64
	shunned       driver.Value
	started       bool
	envelope      string

	name   string // of the function
	ties   int64
	inputs []*omniq.RawResult
	size   int64 // of the inputs
	state  omniq.Raw
	failed error // an input cannot be read
}

// leasing is what a request needs in the transaction.
type leasing struct {
	*omniq.LeaseRequest
	names          driver.Value // of functions, as JSON; nil for all
	token, expires int64
	got            []leased
	most           int  // as many as there may be when the queue has been looked at that is the next
	again          bool // there may be more in a queue, once more is written down of what has happened by itself
	spared         bool // of what there may be nothing was taken, because it would have been taken ahead
}

// Lease hands out tasks that are due, and waits for one if it is told to: see [omniq.TaskQueue].
func (b *Backend) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if err := engine.CheckLease(&r); err != nil {
		return nil, err
	}
	r.Queues = slices.Clone(r.Queues)
	for i, q := range r.Queues {
		r.Queues[i] = cmp.Or(q, omniq.DefaultQueue)
	}
	var names driver.Value
	if r.Names != nil {
		list, err := json.Marshal(r.Names)
		if err != nil {
			return nil, fmt.Errorf("%w: sqlite: names of functions: %w", omniq.ErrInvalid, err)
		}
		names = string(list)
	}
	for end := time.Now().Add(r.Wait); ; r.Wait = max(0, time.Until(end)) {
		l := leasing{LeaseRequest: &r, names: names}
		if err := b.lease(ctx, &l); err != nil {
			return nil, err
		}
		if err := b.furnish(ctx, &l); err != nil {
			return nil, err
		}
		leases, unreadable := l.decode(b.config.clock())
		b.refuse(ctx, unreadable)
		switch {
		case len(leases) > 0:
			return leases, nil
		case ctx.Err() != nil:
			return nil, contextError(ctx)
		case !l.again && len(unreadable) == 0:
			return nil, nil
		}
	}
}

// lease hands out what is ready, and waits for it if the request says so.
func (b *Backend) lease(ctx context.Context, l *leasing) error {
	o := &op{queues: l.Queues}
	o.do = func(t *tx) error {
		// A number by chance is one that no lease of this task has had, in whatever life and process.
		l.token, l.expires = rand.Int64(), t.us+microseconds(l.Duration)
		l.got, l.again, l.spared = nil, false, false
		err := t.lease(b.w, l)
		if o.spared = l.spared; err != nil {
			return err
		}
		if len(l.got) == 0 && !l.again && l.Wait > 0 {
			return errPark
		}
		return nil
	}
	limit := l.Wait
	if limit <= 0 { // it does not wait for tasks, and is done soon
		limit = -1
	}
	gone, err := b.wait(ctx, o, limit)
	if gone {
		l.got, l.again = nil, false
	}
	return err
}

// decode returns the leases, and the ends of tasks that cannot be read: SQL may have written anything.
func (l *leasing) decode(now time.Time) (leases []omniq.Lease, unreadable []omniq.Settlement) {
	leases = make([]omniq.Lease, 0, len(l.got))
	end, token := time.UnixMicro(l.expires), formatToken(l.token)
	for i := range l.got {
		g := &l.got[i]
		id := omniq.LeaseID{TaskID: g.id, Token: token}
		raw := new(omniq.RawTask)
		err := raw.UnmarshalJSON([]byte(g.envelope))
		if err == nil && raw.ID != g.id {
			err = fmt.Errorf("it stands in the row of task %v", g.id)
		}
		if err == nil && g.failed != nil {
			err = fmt.Errorf("an input of it: %w", g.failed)
		}
		if err != nil {
			unreadable = append(unreadable, omniq.Settlement{LeaseID: id, Action: omniq.ActionFinish, Result: &omniq.RawResult{
				TaskID: g.id, Status: omniq.StatusFailure, Timestamp: now.UTC().Truncate(time.Microsecond),
				TTL: new(omniq.DefaultFailureTTL), Attempts: int(g.attempt),
				Error: &omniq.TaskError{Type: "omniq.Decode", Message: "the task cannot be read: " + err.Error()},
			}})
			continue
		}
		if g.size > omniq.MaxInputs {
			before := g.attempt - integer(g.started) // it is not handed out
			unreadable = append(unreadable, omniq.Settlement{
				LeaseID: id, Action: omniq.ActionFinish, Result: omniq.InputsResult(raw, now, int(before), g.size),
			})
			continue
		}
		lease := omniq.Lease{
			LeaseID: id, Task: raw, Attempt: int(g.attempt), Started: g.started, Lost: int(g.lost), Expires: end,
			Inputs: g.inputs, Resumed: g.ties&tieResumed != 0, State: g.state,
		}
		if !g.started {
			lease.Attempt++
		}
		handed := l.expires - microseconds(l.Duration)
		lease.Waited = time.Duration(max(0, handed-g.due)) * time.Microsecond
		if since, ok := g.shunned.(int64); ok {
			lease.Deferred = time.Duration(handed-since) * time.Microsecond
		}
		leases = append(leases, lease)
	}
	return leases, unreadable
}

// refuse lets tasks fail that cannot be read. If that does not succeed, their leases run out.
func (b *Backend) refuse(ctx context.Context, tasks []omniq.Settlement) {
	if len(tasks) == 0 {
		return
	}
	_, err := b.Settle(ctx, tasks)
	for i := range tasks {
		b.config.logger.Warn("sqlite: "+tasks[i].Result.Error.Message, logkey.Task, tasks[i].TaskID, logkey.Error, err)
	}
}

// lease hands out what is ready: first what has a name that the worker knows and, where there is nothing, whatever there
// is.
func (t *tx) lease(w *writer, l *leasing) error {
	paused, err := w.pausedQueues()
	if err != nil {
		return err
	}
	known := l.names
	for {
		for i, queue := range l.Queues {
			if len(l.got) == l.Max {
				return nil
			}
			if paused[queue] {
				continue
			}
			l.most = engine.Most(l.LeaseRequest, i, len(l.got))
			if t.behind {
				done, err := t.catchUp(queue, l.most-len(l.got))
				if err != nil {
					return err
				}
				l.again = l.again || !done
			}
			if err := t.leaseFrom(queue, l, known); err != nil {
				return err
			}
		}
		if known == nil || len(l.got) > 0 {
			return nil
		}
		known = nil
	}
}

// leaseFrom hands out what is ready in a queue, and what its limit permits.
func (t *tx) leaseFrom(queue string, l *leasing, names driver.Value) error {
	limit, err := t.limit(queue)
	if err != nil {
		return err
	}
	laned, err := t.laned(queue)
	if err != nil {
		return err
	}
	if limit == nil && !laned {
		return t.leaseOf(queue, l, names)
	}
	return t.leaseBounded(queue, l, names, limit, laned)
}

// leaseOf hands out what is ready in a queue without lanes. All but the last ones of the request start.
func (t *tx) leaseOf(queue string, l *leasing, names driver.Value) error {
	first := len(l.got)
	if err := t.choose(queue, l, names); err != nil {
		return err
	}
	for i := first; i < len(l.got); i++ {
		g := &l.got[i]
		g.started = engine.Starts(l.LeaseRequest, i, int(g.lost))
	}
	if err := t.hand(queue, l.got[first:], l); err != nil {
		return err
	}
	if n := int64(len(l.got) - first); n > 0 {
		t.add(queue, stateReady, -n)
		t.add(queue, stateRunning, n)
	}
	return nil
}

// startNote tells that an attempt has started.
func (t *tx) startNote(g *leased, queue string, l *leasing) error {
	t.tally(queue, g.name).started(t.us, g.due)
	return t.note(omniq.EventStarted, g.id, g.name, queue, l.WorkerID, int(g.attempt), nil)
}

// pick takes a row of a query for tasks, unless it is one that is not wanted.
func (l *leasing) pick(v []driver.Value) bool {
	envelope, chosen := v[5].(string)
	if chosen {
		l.got = append(l.got, leased{
			seq: v[0].(int64), id: idOf(v[1]), attempt: v[2].(int64), lost: v[3].(int64), shunned: v[4], envelope: envelope,
			ties: v[6].(int64), due: v[7].(int64), name: text(v[8]),
		})
	}
	return chosen
}

// errEnough ends a query of which no more rows are wanted.
var errEnough = errors.New("enough")

// choose finds the first tasks of a queue that can be handed out, and looks at few others.
func (t *tx) choose(queue string, l *leasing, names driver.Value) error {
	const q = `SELECT seq, id, attempt, lost, shunned, CASE WHEN (?3 IS NULL OR name IN (SELECT value FROM json_each(?3)))
			AND (deadline IS NULL OR deadline > ?4) THEN task END, ties, due, name
		FROM omniq_tasks INDEXED BY omniq_tasks_ready WHERE state = 1 AND lane IS NULL AND queue = ?1
		ORDER BY priority DESC, due, seq LIMIT ?2`
	err := t.q.query(q, func(v []driver.Value) error {
		if l.pick(v) && len(l.got) == l.most {
			return errEnough
		}
		return nil
	}, queue, int64(l.most-len(l.got)+others), names, t.us)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var handOut = newMany(`UPDATE omniq_tasks SET state = 2, attempt = min(attempt, 1 << 62) + ?1, started = ?1, token = ?2, since = ?3, worker = ?4, wake = ?5
	WHERE seq IN (`, 1, ")")

// hand hands out tasks of a queue.
func (t *tx) hand(queue string, list []leased, l *leasing) error {
	rows := make([]driver.Value, 0, len(list))
	for _, started := range []bool{true, false} {
		rows = rows[:0]
		for i := range list {
			if g := &list[i]; g.started == started {
				g.attempt += integer(started)
				rows = append(rows, g.seq)
			}
		}
		n := integer(started)
		if err := handOut.exec(t.q, rows, n, l.token, t.us, l.WorkerID, l.expires); err != nil {
			return err
		}
	}
	for i := range list {
		if g := &list[i]; g.started {
			if err := t.startNote(g, queue, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func integer(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// pausedQueues are those that are paused now, as far as others can have changed it.
func (w *writer) pausedQueues() (map[string]bool, error) {
	if w.paused != nil {
		return w.paused, nil
	}
	paused := make(map[string]bool)
	err := w.c.query("SELECT queue FROM omniq_paused", func(v []driver.Value) error { paused[text(v[0])] = true; return nil })
	if err != nil {
		return nil, err
	}
	w.paused = paused
	return paused, nil
}

// Start starts attempts at tasks that were leased ahead: see [omniq.TaskQueue].
func (b *Backend) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	leases = slices.Clone(leases)
	return b.eachOf(ctx, &op{light: true}, len(leases), func(t *tx, i int) (error, error) { return t.start(leases[i]) })
}

// start counts the attempt of a lease that was taken ahead.
func (t *tx) start(l omniq.LeaseID) (refused, err error) {
	token, ok := parseToken(l.Token)
	if !ok {
		return t.lost(l)
	}
	const q = `UPDATE omniq_tasks SET attempt = min(attempt, 1 << 62) + 1, started = 1
		WHERE id = ?1 AND token = ?2 AND wake > ?3 AND started = 0 AND (deadline IS NULL OR deadline > ?3)
		RETURNING queue, worker, attempt, name, due`
	started, queue, worker, attempt, name, due := false, "", "", 0, "", int64(0)
	err = t.q.query(q, func(v []driver.Value) error {
		started, queue, worker, attempt, name, due = true, text(v[0]), text(v[1]), int(v[2].(int64)), text(v[3]), v[4].(int64)
		return nil
	}, l.TaskID[:], token, t.us)
	if err != nil {
		return nil, err
	}
	if started {
		t.tally(queue, name).started(t.us, due)
		return nil, t.note(omniq.EventStarted, l.TaskID, name, queue, worker, attempt, nil)
	}
	r, err := t.find(l.TaskID)
	switch {
	case err != nil:
		return nil, err
	case r == nil || r.token != token || r.state != stateRunning:
		return t.lost(l)
	case r.started:
		return nil, nil
	}
	return omniq.ErrExpired, t.end(r, omniq.StatusExpired)
}

// lost says why a lease is lost.
func (t *tx) lost(l omniq.LeaseID) (refused, err error) {
	status, err := t.status(l.TaskID)
	if status == omniq.StatusCancelled {
		return omniq.ErrCancelled, err
	}
	return omniq.ErrLeaseLost, err
}

// Extend makes leases last longer: see [omniq.TaskQueue].
func (b *Backend) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if by <= 0 {
		return nil, invalid("extension of %d leases by %v, want a positive time", len(leases), by)
	}
	leases = slices.Clone(leases)
	return b.eachOf(ctx, &op{light: true}, len(leases), func(t *tx, i int) (refused, err error) {
		l := leases[i]
		if token, ok := parseToken(l.Token); ok {
			n, err := t.q.exec("UPDATE omniq_tasks SET wake = max(wake, ?1) WHERE id = ?2 AND token = ?3 AND wake > ?4",
				t.us+microseconds(by), l.TaskID[:], token, t.us)
			if err != nil || n > 0 {
				return nil, err
			}
		}
		return t.lost(l)
	})
}

// formatToken and parseToken are between a lease's number and its form outside.
func formatToken(n int64) string { return strconv.FormatInt(n, 36) }

func parseToken(s string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s, 36, 64)
	return n, err == nil
}
