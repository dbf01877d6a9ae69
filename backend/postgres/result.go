package postgres

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// lookUp is one who wants to know a task's result as it is now.
type lookUp struct {
	id      uuid.UUID
	waited  bool             // the task was not final before: its result counts even if it is not kept
	result  *omniq.RawResult // nil for none
	overdue bool             // something was to happen to the task by itself
}

const lookUpTasks = `SELECT id, state, since, attempt, {overdue}, NULL FROM {s}.tasks WHERE id = ANY ($1)
	UNION ALL
	SELECT id, status, since, 0, coalesce(expires <= {now}, false), result FROM {s}.results WHERE id = ANY ($1)`

// lookUpAll is the function of the group: those who look at the same time do so together.
func (b *Backend) lookUpAll(ctx context.Context, list []*lookUp) ([]error, error) {
	type row struct {
		state    int16
		attempt  int
		since    pgtype.Timestamptz
		ends     bool
		envelope *string
	}
	ids := make([]uuid.UUID, len(list))
	for i, l := range list {
		ids[i] = l.id
	}
	tasks, results := make(map[uuid.UUID]*row), make(map[uuid.UUID]*row)
	err := b.read(ctx, stmt{sql: b.sql.of(lookUpTasks), args: []any{sortedIDs(ids)}, row: func(s scanner) error {
		var id uuid.UUID
		r := new(row)
		err := s.Scan((*[16]byte)(&id), &r.state, &r.since, &r.attempt, &r.ends, &r.envelope)
		if r.envelope == nil {
			tasks[id] = r
		} else {
			results[id] = r
		}
		return err
	}})
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, l := range list {
		l.result, l.overdue = nil, false
		task, result := tasks[l.id], results[l.id]
		switch {
		case task != nil: // which is not what it was in an earlier life
			l.overdue = task.ends
			l.result = &omniq.RawResult{
				TaskID: l.id, Status: statusOf(task.state), Timestamp: task.since.Time.UTC(), Attempts: task.attempt,
			}
		case result != nil && (!result.ends || l.waited):
			l.result = new(omniq.RawResult)
			if err := decodeResult(l.id, *result.envelope, l.result); err != nil {
				errs = engine.Report(errs, len(list), i, err)
			}
		}
	}
	return errs, nil
}

func decodeResult(id uuid.UUID, envelope string, to *omniq.RawResult) error {
	if err := to.UnmarshalJSON([]byte(envelope)); err != nil {
		return fmt.Errorf("postgres: the result of task %v: %w", id, err)
	}
	if to.Status != omniq.StatusSuccess && string(to.ResultData) == "null" { // how nothing is written
		to.ResultData = nil
	}
	return nil
}

// result returns what is known of a task, after what was to happen to it by itself has happened.
func (b *Backend) result(ctx context.Context, id uuid.UUID, waited bool) (*omniq.RawResult, error) {
	for {
		l := &lookUp{id: id, waited: waited}
		errs, err := b.lookUps.Do(ctx, []*lookUp{l})
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return nil, contextError(ctx)
			}
			return nil, err
		case errs != nil && errs[0] != nil:
			return nil, errs[0]
		case l.overdue:
			if err := b.wake(ctx, id); err != nil {
				return nil, err
			}
			continue
		case l.result == nil:
			return nil, omniq.ErrNotFound
		}
		return l.result, nil
	}
}

// Result returns a task's result as it is now: see [omniq.ResultStore].
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	return b.result(ctx, id, false)
}

// Results that go, some or all of those with the IDs.
const (
	dropFirst = `WITH gone AS (DELETE FROM {s}.results WHERE ctid = ANY (ARRAY (
		SELECT ctid FROM {s}.results r WHERE id = ANY ($1::uuid[]) `
	dropThen = ` ORDER BY id FOR UPDATE)) RETURNING queue, status)
		INSERT INTO {s}.counts SELECT queue, status, -count(*) FROM gone GROUP BY queue, status`

	dropResults     = dropFirst + dropThen
	dropOverResults = dropFirst + "AND coalesce(expires <= {now}, false)" + dropThen // of an earlier life
)

const insertResults = `WITH
	kept AS (
		INSERT INTO {s}.results (id, since, expires, status, name, queue, result)
		SELECT id, {now}, {now} + keep * interval '1 microsecond', status, '', $5, result
		FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::text[]) AS i (id, status, keep, result)
		WHERE (SELECT true FROM {s}.tasks t WHERE t.id = i.id) IS NULL
		ON CONFLICT (id) DO NOTHING RETURNING id, status),
	counted AS (INSERT INTO {s}.counts SELECT $5, status, count(*) FROM kept GROUP BY status)
	SELECT id FROM kept`

const queuedOf = "SELECT id FROM {s}.tasks WHERE id = ANY ($1)"

// Record keeps results of tasks that another engine queues: see [omniq.ResultStore].
func (b *Backend) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	type record struct {
		*omniq.RawResult
		envelope string
	}
	if err := engine.CheckResults(results); err != nil {
		return nil, err
	}
	var all []record // of each task the first
	seen := make(map[uuid.UUID]bool)
	for _, r := range results {
		envelope, err := encodeResult(r)
		if err != nil {
			return nil, err
		}
		if !seen[r.TaskID] {
			seen[r.TaskID] = true
			all = append(all, record{r, envelope})
		}
	}
	slices.SortFunc(all, func(a, b record) int { return bytes.Compare(a.TaskID[:], b.TaskID[:]) })
	n := len(all)
	ids, statuses := make(list[pgtype.UUID], n), make(list[int16], n)
	keeps, envelopes := make(list[pgtype.Int8], n), make(list[string], n)
	for i, r := range all {
		ids[i], statuses[i], keeps[i], envelopes[i] = uuidOf(r.TaskID), int16(r.Status), keepOf(r.TTL), r.envelope
	}
	kept, queued := make(map[uuid.UUID]bool), make(map[uuid.UUID]bool)
	err := b.write(ctx, func() []stmt {
		clear(kept)
		clear(queued)
		return []stmt{
			{sql: b.sql.of(dropOverResults), args: []any{ids}},
			{sql: b.sql.of(insertResults), args: []any{ids, statuses, keeps, envelopes, omniq.DefaultQueue}, row: idInto(kept)},
			{sql: b.sql.of(queuedOf), args: []any{ids}, row: idInto(queued)},
		}
	})
	if err != nil {
		return nil, err
	}
	var errs []error
	var endings []ending
	for i, r := range results {
		switch {
		case kept[r.TaskID]:
			delete(kept, r.TaskID) // the next one of this task is a second
			endings = append(endings, ending{hold: hold{id: r.TaskID}, result: r})
		case queued[r.TaskID]:
			errs = engine.Report(errs, len(results), i, omniq.ErrState)
		default:
			errs = engine.Report(errs, len(results), i, omniq.ErrDuplicate)
		}
	}
	b.ended(endings)
	return errs, nil
}

// idInto collects rows that are IDs.
func idInto(set map[uuid.UUID]bool) func(scanner) error {
	return func(row scanner) error {
		var id uuid.UUID
		err := row.Scan((*[16]byte)(&id))
		set[id] = true
		return err
	}
}

// The row is kept for a moment for those who wait in other processes, see the table. Both are from one snapshot: whatever
// somebody moves at this moment is in one of the two, or was waited for. Who was waited for has a later time than {now}.
const forgetResults = `WITH
	found AS MATERIALIZED (
		SELECT o.id, ` + neededBy + ` AS needed FROM (SELECT id FROM {s}.results WHERE id = ANY ($1)
			AND (expires IS NULL OR expires > {clock}) ORDER BY id FOR UPDATE) o),
	gone AS (
		UPDATE {s}.results SET expires = {now}, lapses = NULL, task = NULL
		WHERE id = ANY (ARRAY (SELECT id FROM found WHERE NOT needed))
		AND (expires IS NULL OR expires > {clock}) RETURNING id)
	SELECT id, NULL::smallint, false FROM gone UNION ALL SELECT id, NULL, true FROM found WHERE needed
	UNION ALL SELECT id, state, false FROM {s}.tasks WHERE id = ANY ($1)`

// Forget removes results before their time is over: see [omniq.ResultStore].
func (b *Backend) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	var gone map[uuid.UUID]bool
	var living map[uuid.UUID]omniq.Status
	var inputs map[uuid.UUID]bool
	err := b.transact(ctx, func(q querier) error {
		gone, living, inputs = make(map[uuid.UUID]bool), make(map[uuid.UUID]omniq.Status), make(map[uuid.UUID]bool)
		err := q.run(ctx, stmt{sql: b.sql.of(forgetResults), args: []any{sortedIDs(ids)}, row: func(row scanner) error {
			var id uuid.UUID
			var state *int16
			var needed bool
			err := row.Scan((*[16]byte)(&id), &state, &needed)
			switch {
			case state != nil:
				living[id] = statusOf(*state)
			case needed:
				inputs[id] = true
			default:
				gone[id] = true
			}
			return err
		}})
		if err != nil {
			return err
		}
		return b.known(ctx, q, ids, func(id uuid.UUID) bool { return gone[id] || inputs[id] || living[id] != 0 })
	})
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, id := range ids {
		switch {
		case inputs[id]:
			err := fmt.Errorf("%w: its result is an input of a task that has not succeeded", omniq.ErrState)
			errs = engine.Report(errs, len(ids), i, err)
		case gone[id]:
			delete(gone, id) // a second time there is nothing
		case living[id] != 0:
			errs = engine.Report(errs, len(ids), i, stateError(living[id], "one that is final"))
		default:
			errs = engine.Report(errs, len(ids), i, omniq.ErrNotFound)
		}
	}
	return errs, nil
}
