package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
	"github.com/omniq-go/omniq/internal/logkey"
)

// leased is a task that was handed out.
type leased struct {
	position
	hold
	queue    string
	expires  time.Time
	attempt  int // the last one that has started
	started  bool
	lost     int
	shunned  int64 // microseconds, see [omniq.Lease].Deferred
	envelope string
	tie      *int64 // by which its edges are found, nil for none
	resumed  *bool
	saved    *string
	place    int // in its turn, of a queue with a limit
}

// A lease need not survive a crash of the server: its task is ready again then, and who holds it finds it lost.
const unflushed = "SET LOCAL synchronous_commit = off"

// The queues are walked one after the other, and no more rows are locked than are handed out. Rows that others have locked
// are skipped. What SQL has written into a row by hand must not keep the others from being handed out.
// The first queue that has a limit or lanes ends the list: it is told of by a row without an ID, see leaseBound. The first tasks that
// SQL enqueues into lanes are not looked for here: see firstStirred.
const leaseTasks = `WITH
	` + boundedQueues + `,
	chosen AS MATERIALIZED (
		SELECT q.n, t.* FROM (
			SELECT q.* FROM unnest($1::text[], $6::bigint[], $7::timestamptz[], $8::bigint[])
				WITH ORDINALITY AS q (queue, rank, due, seq, n)
			WHERE NOT EXISTS (SELECT FROM {s}.paused p WHERE p.queue = q.queue)
				AND (q.n < (SELECT b.n FROM bounded b)) IS NOT FALSE ORDER BY n OFFSET 0) q
		CROSS JOIN LATERAL (
			SELECT ctid AS at, rank, due, seq FROM {s}.tasks t
			WHERE t.queue = q.queue AND t.state = 1 AND t.lane IS NULL AND (t.rank, t.due, t.seq) > (q.rank, q.due, q.seq)
				AND (t.deadline IS NULL OR t.deadline > {now})
			ORDER BY t.rank, t.due, t.seq LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) t
		LIMIT $2),
	last AS MATERIALIZED (SELECT n, rank, due, seq FROM chosen OFFSET greatest($9 - 1, 0) LIMIT 1),
	leased AS (
		UPDATE {s}.tasks t SET state = 2, attempt = least(t.attempt, 2147483646) + (` + begins + `)::integer, started = ` + begins + `,
			token = $3::bigint + (t.followed IS NOT NULL)::integer, since = {now}, worker = $4, wake = {now} + $5 * interval '1 microsecond'
		WHERE t.ctid = ANY (ARRAY (SELECT at FROM chosen))
		RETURNING t.id, t.name, t.queue, t.rank, t.due, t.seq, t.attempt, t.started, t.lost, t.shunned, t.wake, t.task,
			t.token, t.tie, t.resumed, t.saved),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, count(*) AS n FROM leased GROUP BY queue) l
		CROSS JOIN LATERAL (VALUES (1, -l.n), (2, l.n)) c (state, n)),
	tallied AS (
		INSERT INTO {s}.tallies (at, what, n, us, queue, name)
		SELECT {now}, 2, count(*), ` + waitOf + `, queue, name FROM leased WHERE started GROUP BY queue, name)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker)
		SELECT {until}, {now}, name, id, 2, attempt, queue, nullif($4, '') FROM leased WHERE started):events}
	SELECT id, queue, rank, greatest(due, '0001-01-01Z'::timestamptz), seq, attempt, started, lost,
		CASE WHEN isfinite(shunned) THEN (extract(epoch FROM {now} - shunned) * 1000000)::bigint ELSE 0 END, wake, task,
		token, tie, resumed, saved, (extract(epoch FROM {clock} - {now}) * 1000000)::bigint
	FROM leased` + endOfBounded

const (
	// The first $9 tasks start, and the others with $10 unless they were lost before. To join the tasks with their places here would look
	// for each row by itself, which takes half as long again.
	begins = `$9 > 0 AND coalesce((array_position($1::text[], t.queue), t.rank, t.due, t.seq) <= (SELECT n, rank, due, seq FROM last), true)
			OR $10 AND t.lost = 0`

	boundedQueues = `bounded AS MATERIALIZED (
		SELECT q.queue, q.n FROM unnest($1::text[]) WITH ORDINALITY AS q (queue, n)
		WHERE (SELECT true FROM {s}.limits l WHERE l.queue = q.queue) ORDER BY q.n LIMIT 1)`
	endOfBounded = `
	UNION ALL SELECT '00000000-0000-0000-0000-000000000000', queue, 0, {now}, 0, 0, false, 0, 0, {now}, '', 0, NULL, NULL, NULL, 0 FROM bounded`
)

// leaseLimited is leaseTasks with a limit for each queue.
var leaseLimited = strings.NewReplacer("$8::bigint[])", "$8::bigint[], $11::integer[])", "due, seq, n)", "due, seq, most, n)",
	"LIMIT $2 FOR", "LIMIT least($2, q.most) FOR").Replace(leaseTasks)

// leaseLimit is leaseTasks for a queue with a limit that has no lanes.
var leaseLimit = strings.NewReplacer(boundedQueues, "lim AS MATERIALIZED ("+
	strings.NewReplacer("{queue}", "($1::text[])[1]", "{starts}", "$9").Replace(limitRoom)+" AND NOT l.laned)",
	"AND (q.n < (SELECT b.n FROM bounded b)) IS NOT FALSE ", "",
	"LIMIT $2", "LIMIT coalesce((SELECT room FROM lim), 0)",
	"wake = {now} +", "bound = coalesce(t.bound, false), wake = {now} +",
	"	counted AS", `	charged AS (
		UPDATE {s}.limits l SET used = greatest(l.used, lim.us) + c.n * l.every
		FROM lim CROSS JOIN (SELECT count(*) AS n FROM chosen) c WHERE l.queue = ($1::text[])[1] AND l.every > 0 AND c.n > 0),
	counted AS`,
	endOfBounded, "").Replace(leaseTasks)

// Lease hands out tasks that are due, and waits for one if it is told to: see [omniq.TaskQueue].
func (b *Backend) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if err := engine.CheckLease(&r); err != nil {
		return nil, err
	}
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	queues, limits := make([]string, 0, len(r.Queues)), make([]int, 0, len(r.Limits))
	for i, q := range r.Queues {
		if q = cmp.Or(q, omniq.DefaultQueue); slices.Contains(queues, q) {
			continue
		}
		queues = append(queues, q)
		if r.Limits != nil {
			limits = append(limits, min(r.Limits[i], r.Max))
		}
	}
	r.Queues, r.Limits = queues, limits
	var timeout <-chan time.Time
	if r.Wait > 0 {
		timer := time.NewTimer(r.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	s := b.hub.watch('q', queues...)
	defer b.hub.cancel(s)
	for {
		leases, unreadable, opens, err := b.lease(ctx, &r)
		if len(unreadable) > 0 {
			b.refuse(ctx, unreadable)
			if len(leases) == 0 {
				continue // there may be others
			}
		}
		if err != nil || len(leases) > 0 || r.Wait <= 0 {
			return leases, err
		}
		var opened <-chan time.Time
		if opens > 0 {
			opened = time.After(opens)
		}
		select {
		case <-s.woken:
		case <-opened:
		case <-timeout:
			return nil, nil
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-b.closing:
			return nil, omniq.ErrClosed
		}
	}
}

// lease hands out what is ready. What cannot be read of it comes as what is to become of it. Opens is when a limit may permit more.
func (b *Backend) lease(ctx context.Context, r *omniq.LeaseRequest) (
	leases []omniq.Lease, unreadable []omniq.Settlement, opens time.Duration, err error,
) {
	left, n := *r, 0 // what is still to be asked for, and what is handed out
	for len(left.Queues) > 0 && n < r.Max {
		left.Max = r.Max - n
		left.Ahead = left.Max - max(r.Max-r.Ahead-n, 0)
		var got []leased
		done := 1 // queues
		if _, bound := b.boundsOf(left.Queues[0]); bound {
			var at time.Duration
			var known bool
			if got, at, known, err = b.leaseBound(ctx, &left); err == nil && !known {
				continue
			}
			if at > 0 && (opens == 0 || at < opens) {
				opens = at
			}
		} else {
			var first string
			if got, first, err = b.leaseFree(ctx, &left); first == "" {
				done = len(left.Queues)
			} else {
				done = slices.Index(left.Queues, first)
				b.limited.Store(first, bounds{})
			}
		}
		if err == nil && len(got) > 0 {
			var more []omniq.Lease
			var broken []omniq.Settlement
			more, broken, err = b.handOut(ctx, r, got)
			leases, unreadable, n = append(leases, more...), append(unreadable, broken...), n+len(got)
		}
		if err != nil && len(leases)+len(unreadable) > 0 {
			return leases, unreadable, 0, nil // the others are for the next call
		}
		if err != nil {
			return nil, nil, 0, err
		}
		left.Queues = left.Queues[done:]
		if len(left.Limits) > 0 {
			left.Limits = left.Limits[done:]
		}
	}
	return leases, unreadable, opens, nil
}

// leaseFree hands out what is ready in queues up to the first one that has a limit or lanes, which it returns.
func (b *Backend) leaseFree(ctx context.Context, r *omniq.LeaseRequest) (got []leased, first string, err error) {
	ranks, dues, seqs, raised := b.floors.begin(r.Queues)
	// A number by chance is one that no lease of this task has had, in whatever life and process. See followed.
	token := rand.Int64() &^ 1
	moved := advancing{b: b}
	// What is handed out must be known: the statement is not given up at once when ctx ends.
	lingering, stop := linger(ctx)
	defer stop()
	bound, cancel := bounded(lingering)
	defer cancel()
	var took int64 // microseconds of the statement
	template := leaseTasks
	args := []any{
		list[string](r.Queues), r.Max, token, r.WorkerID, microseconds(r.Duration), ranks, dues, seqs, r.Max - r.Ahead, r.Soon,
	}
	if len(r.Limits) > 0 {
		template, args = leaseLimited, append(args, r.Limits)
	}
	err = b.write(bound, func() []stmt {
		got, first = nil, ""
		return []stmt{
			{sql: unflushed},
			moved.advance(b.maintainer.horizon(), leaseAdvance),
			{
				sql:  b.sql.of(template),
				args: args,
				row: func(row scanner) error {
					var l leased
					var elapsed int64
					err := l.scan(row, &elapsed)
					if l.id == uuid.Nil {
						first = l.queue
						return err
					}
					took = elapsed
					got = append(got, l)
					return err
				},
			},
		}
	})
	if err != nil {
		if ctx.Err() != nil {
			err = contextError(ctx) // the caller's, not the one that lingers
		}
		return nil, "", err
	}
	b.floors.handed(got, time.Duration(took)*time.Microsecond, raised)
	moved.announce()
	if len(got) == 0 && raised {
		b.floors.drop(r.Queues)
		return b.leaseFree(ctx, r)
	}
	before := r.Queues
	if first != "" {
		before = before[:slices.Index(before, first)]
	}
	if len(got) == 0 && len(before) > 0 {
		err = b.search(bound, stmt{sql: b.sql.of(firstStirred), args: []any{list[string](before)}, row: func(row scanner) error { return row.Scan(&first) }})
	}
	return got, first, err
}

func (l *leased) scan(row scanner, last any) error {
	return row.Scan((*[16]byte)(&l.id), &l.queue, &l.rank, &l.due, &l.seq, &l.attempt, &l.started, &l.lost, &l.shunned,
		&l.expires, &l.envelope, &l.token, &l.tie, &l.resumed, &l.saved, last)
}

// handOut makes leases of what the database has handed out.
func (b *Backend) handOut(ctx context.Context, r *omniq.LeaseRequest, got []leased) (
	leases []omniq.Lease, unreadable []omniq.Settlement, err error,
) {
	lingering, stop := linger(ctx)
	defer stop()
	if b.config.retention > 0 {
		b.tell(eventTopic)
	}
	b.maintainer.poke(r.Duration)
	order := make(map[string]int, len(r.Queues))
	for i, q := range r.Queues {
		order[q] = i
	}
	slices.SortFunc(got, func(a, b leased) int { // RETURNING has no order
		return cmp.Or(cmp.Compare(order[a.queue], order[b.queue]), cmp.Compare(a.place, b.place), a.position.compare(b.position))
	})
	inputs, err := b.inputs(vital(lingering), got)
	if err != nil {
		b.giveBack(ctx, got)
		return nil, nil, err
	}
	leases, unreadable = decodeLeases(got, inputs, r.Duration)
	return leases, unreadable, nil
}

// linger returns a context that ends a moment after ctx.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	const moment = 500 * time.Millisecond
	lingering, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(moment)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(ctx.Err())
		case <-lingering.Done():
		}
	})
	return lingering, func() { stop(); cancel(nil) }
}

// decodeLeases also returns the ends of tasks that cannot be read: SQL may have written anything.
func decodeLeases(got []leased, inputs map[int64]*given, duration time.Duration) (leases []omniq.Lease, unreadable []omniq.Settlement) {
	leases = make([]omniq.Lease, 0, len(got))
	for i := range got {
		l := &got[i]
		id := l.lease()
		raw := new(omniq.RawTask)
		err := raw.UnmarshalJSON([]byte(l.envelope))
		if err == nil && raw.ID != l.id {
			err = fmt.Errorf("it stands in the row of task %v", l.id)
		}
		attempt := l.attempt
		if !l.started {
			attempt++
		}
		var in *given
		if l.tie != nil {
			in = inputs[*l.tie]
		}
		if err == nil && in != nil && in.over() {
			unreadable = append(unreadable, omniq.Settlement{
				LeaseID: id, Action: omniq.ActionFinish, Result: omniq.InputsResult(raw, time.Now(), attempt-1, in.size),
			})
			continue
		}
		if err == nil && in != nil {
			err = in.err
		}
		if err != nil {
			ttl := omniq.DefaultFailureTTL
			unreadable = append(unreadable, omniq.Settlement{LeaseID: id, Action: omniq.ActionFinish, Result: &omniq.RawResult{
				TaskID: l.id, Status: omniq.StatusFailure, Timestamp: time.Now().UTC(), TTL: &ttl, Attempts: attempt,
				Error: &omniq.TaskError{Type: "omniq.Decode", Message: printable("the task cannot be read: " + err.Error())},
			}})
			continue
		}
		given := omniq.Lease{
			LeaseID: id, Task: raw, Attempt: attempt, Started: l.started, Lost: l.lost, Expires: l.expires.UTC(),
			Deferred: time.Duration(max(l.shunned, 0)) * time.Microsecond, Resumed: l.resumed != nil && *l.resumed,
			Waited: max(0, l.expires.Add(-duration).Sub(l.due)),
		}
		if in != nil {
			given.Inputs = in.results()
		}
		if l.saved != nil {
			given.State = omniq.Raw(*l.saved)
		}
		leases = append(leases, given)
	}
	return leases, unreadable
}

// printable is a text that the database can store whatever its encoding is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// refuse lets tasks fail that cannot be read. If that does not succeed, their leases run out.
func (b *Backend) refuse(ctx context.Context, tasks []omniq.Settlement) {
	errs, err := b.Settle(ctx, tasks)
	for i := range tasks {
		if errs != nil {
			err = errs[i]
		}
		b.config.logger.Warn("postgres: "+tasks[i].Result.Error.Message, logkey.Task, tasks[i].TaskID, logkey.Error, err)
	}
}

// hold is a lease as it is stored.
type hold struct {
	id    uuid.UUID
	token int64 // odd: see followed
}

// holdOf is false for a lease that cannot be one of ours.
func holdOf(l omniq.LeaseID) (hold, bool) {
	token, err := strconv.ParseInt(l.Token, 36, 64)
	return hold{l.TaskID, token}, err == nil
}

// lease is the lease as callers know it.
func (h hold) lease() omniq.LeaseID {
	return omniq.LeaseID{TaskID: h.id, Token: strconv.FormatInt(h.token, 36)}
}

// followed reports whether it was known when the task was leased that others wait for it.
func (h hold) followed() bool { return h.token&1 != 0 }

// compare gives the order in which all lock rows, so that nobody waits for each other.
func (h hold) compare(other hold) int { return bytes.Compare(h.id[:], other.id[:]) }
