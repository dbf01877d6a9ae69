package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	// Beside a condition on the ID, one on wake must not be one that its index could serve. The ID and the token are compared by
	// ANY, so that the plan can only be to look for one row after the other, in the order of the input. By an equality the rows
	// could be hashed in a transaction of the caller's, and locked in the order in which they lie: a deadlock with those who lock
	// them in the order of the IDs.
	holding = `t.id = ANY (ARRAY[i.id]) AND t.token = ANY (ARRAY[i.token]) AND coalesce(t.wake > {now}, false)`

	extendLeases = `UPDATE {s}.tasks t SET wake = greatest(t.wake, {now} + $3 * interval '1 microsecond')
		FROM unnest($1::uuid[], $2::bigint[]) AS i (id, token) WHERE ` + holding + ` RETURNING t.id, t.token`

	// Those that are late end in a transaction of their own.
	startLeases = `WITH
		begun AS (
			UPDATE {s}.tasks t SET started = true, attempt = least(t.attempt, 2147483646) + 1
			FROM unnest($1::uuid[], $2::bigint[]) AS i (id, token)
			WHERE ` + holding + ` AND NOT t.started AND NOT coalesce(t.deadline <= {now}, false)
			RETURNING t.id, t.token, t.name, t.queue, t.due, t.attempt, t.worker),
		tallied AS (
			INSERT INTO {s}.tallies (at, what, n, us, queue, name)
			SELECT {now}, 2, count(*), ` + waitOf + `, queue, name FROM begun GROUP BY queue, name)
		{events:, noted AS (
			INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker)
			SELECT {until}, {now}, name, id, 2, attempt, queue, nullif(worker, '') FROM begun):events}
		SELECT id, token FROM begun`

	// What was not begun, in a later snapshot.
	unbegunLeases = `SELECT i.id, i.token, t.started, t.attempt, t.task, {now} FROM unnest($1::uuid[], $2::bigint[]) AS i (id, token)
		CROSS JOIN LATERAL (SELECT * FROM {s}.tasks t WHERE ` + holding + ` OFFSET 0) t`

	cancelledOf = "SELECT id FROM {s}.results WHERE id = ANY ($1) AND status = 5 AND (expires IS NULL OR expires > {now})"
)

// touching is one call that changes leases without ending them.
type touching struct {
	b      *Backend
	leases []omniq.LeaseID
	held   []hold        // in the order in which rows are locked
	done   map[hold]bool // those that went well
	errs   map[hold]error
}

func (b *Backend) newTouching(leases []omniq.LeaseID) *touching {
	t := &touching{b: b, leases: leases, done: make(map[hold]bool, len(leases)), errs: make(map[hold]error)}
	for _, l := range leases {
		if h, ok := holdOf(l); ok {
			t.held = append(t.held, h)
		}
	}
	slices.SortFunc(t.held, hold.compare)
	t.held = slices.Compact(t.held)
	return t
}

// holdsOf are the IDs and tokens of leases as parameters.
func holdsOf(held []hold) (ids list[pgtype.UUID], tokens list[int64]) {
	ids, tokens = make(list[pgtype.UUID], len(held)), make(list[int64], len(held))
	for i, h := range held {
		ids[i], tokens[i] = uuidOf(h.id), h.token
	}
	return ids, tokens
}

// run does a statement, whose first parameters are the leases' IDs and tokens, and which returns those that it changed.
func (t *touching) run(ctx context.Context, template string, args ...any) error {
	return t.do(ctx, func(held []hold) []stmt {
		ids, tokens := holdsOf(held)
		return []stmt{{sql: unflushed}, {sql: t.b.sql.of(template), args: append([]any{ids, tokens}, args...), row: t.row}}
	})
}

// do does statements about some of the leases, of which one has rows for those that it has changed.
func (t *touching) do(ctx context.Context, stmts func(held []hold) []stmt) error {
	locked, err := t.b.writeHeld(ctx, t.held, func(held []hold) []stmt {
		clear(t.done)
		return stmts(held)
	})
	for _, h := range locked {
		t.errs[h] = lockedError(h)
	}
	return err
}

func (t *touching) row(row scanner) error {
	var h hold
	err := row.Scan((*[16]byte)(&h.id), &h.token)
	t.done[h] = true
	return err
}

// report returns the errors of the leases.
func (t *touching) report(ctx context.Context) ([]error, error) {
	var failed []uuid.UUID
	for _, l := range t.leases {
		if h, ok := holdOf(l); !ok || !t.done[h] && t.errs[h] == nil {
			failed = append(failed, l.TaskID)
		}
	}
	cancelled := make(map[uuid.UUID]bool)
	if len(failed) > 0 {
		err := t.b.read(vital(ctx), stmt{sql: t.b.sql.of(cancelledOf), args: []any{sortedIDs(failed)}, row: idInto(cancelled)})
		if err != nil {
			return nil, err
		}
	}
	var errs []error
	for i, l := range t.leases {
		h, ok := holdOf(l)
		err := t.errs[h]
		switch {
		case ok && t.done[h]:
			continue
		case ok && err != nil:
		case cancelled[l.TaskID]:
			err = omniq.ErrCancelled
		default:
			err = omniq.ErrLeaseLost
		}
		errs = engine.Report(errs, len(t.leases), i, err)
	}
	return errs, nil
}

// Extend makes leases last longer: see [omniq.TaskQueue]. It waits for those who have locked a task's row for a second at
// the most: the lease is not extended then, and has an error of its own.
func (b *Backend) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if by <= 0 {
		return nil, invalid("extension of %d leases by %v, want a positive time", len(leases), by)
	}
	t := b.newTouching(leases)
	if err := t.run(ctx, extendLeases, microseconds(by)); err != nil {
		return nil, err
	}
	return t.report(ctx)
}

// Start starts attempts at tasks that were leased ahead: see [omniq.TaskQueue]. It waits for locked rows as Extend does.
func (b *Backend) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	t := b.newTouching(leases)
	if err := t.run(ctx, startLeases); err != nil {
		return nil, err
	}
	if b.config.retention > 0 && len(t.done) > 0 {
		b.tell(eventTopic)
	}
	if err := t.unbegun(ctx); err != nil {
		return nil, err
	}
	return t.report(ctx)
}

// unbegun looks at the leases that were not started: some had been before, and those that are late end.
func (t *touching) unbegun(ctx context.Context) error {
	left := make([]hold, 0, len(t.held)-len(t.done))
	for _, h := range t.held {
		if !t.done[h] && t.errs[h] == nil {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		return nil
	}
	var late []ending
	ids, tokens := holdsOf(left)
	err := t.b.read(vital(ctx), stmt{sql: t.b.sql.of(unbegunLeases), args: []any{ids, tokens}, row: func(row scanner) error {
		var h hold
		var started bool
		var attempts int
		var envelope string
		var now time.Time
		err := row.Scan((*[16]byte)(&h.id), &h.token, &started, &attempts, &envelope, &now)
		if err == nil && started {
			t.done[h] = true
			return nil
		}
		if err == nil {
			var e ending
			e, err = endingOf(h, envelope, omniq.StatusExpired, now, attempts)
			late = append(late, e)
		}
		return err
	}})
	if err != nil || len(late) == 0 {
		return err
	}
	s := settling{b: t.b, endings: late, done: make(map[hold]bool), locked: make(map[hold]bool)}
	if err := s.write(ctx); err != nil {
		return err
	}
	for _, e := range late {
		if s.locked[e.hold] {
			t.errs[e.hold] = lockedError(e.hold)
		}
		if s.done[e.hold] {
			t.errs[e.hold] = omniq.ErrExpired
		}
	}
	s.announce()
	if s.follows {
		t.b.follow(vital(ctx))
	}
	return nil
}
