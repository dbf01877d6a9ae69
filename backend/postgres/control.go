package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// sortedIDs are the IDs as a parameter, in the order in which all lock rows.
func sortedIDs(ids []uuid.UUID) list[pgtype.UUID] {
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	sorted = slices.Compact(sorted)
	array := make(list[pgtype.UUID], len(sorted))
	for i, id := range sorted {
		array[i] = uuidOf(id)
	}
	return array
}

const (
	// Both from one snapshot: whatever somebody moves at this moment is in one of the two, or was waited for.
	lockTasksOf = `WITH living AS (
			SELECT id, token, state, attempt, {overdue} AS awake, coalesce(deadline <= {now}, false) AS late,
				wake, worker, task, manual
			FROM {s}.tasks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE)
		SELECT id, token, state, attempt, awake, late, wake, worker, task, manual, now FROM (
			SELECT l.id, coalesce(l.token, 0) AS token, l.state, l.attempt, l.awake, l.late, l.wake, l.worker, l.task,
				l.manual IS TRUE AS manual, {now} AS now FROM living l
			UNION ALL
			SELECT r.id, 0, r.status, 0, false, false, NULL, NULL, NULL, false, {now} FROM {s}.results r
			WHERE r.id = ANY ($1::uuid[]) AND (r.expires IS NULL OR r.expires > {now})) f`

	knownTasks = `SELECT EXISTS (SELECT FROM {s}.tasks WHERE id = ANY ($1::uuid[]))
		OR EXISTS (SELECT FROM {s}.results WHERE id = ANY ($1::uuid[]) AND (expires IS NULL OR expires > {now}))`
)

// living is a task that is not final, and locked.
type living struct {
	hold
	state    int16
	attempt  int
	awake    bool // something was to happen to it by itself
	late     bool // its TTL is over
	wake     *time.Time
	worker   string
	envelope string
	manual   bool
	now      time.Time
}

// lock locks those of the tasks that are not final, and finds the statuses of those that are. It fails with errMoved.
func (b *Backend) lock(ctx context.Context, q querier, ids []uuid.UUID) (map[uuid.UUID]*living, map[uuid.UUID]omniq.Status, error) {
	found, final := make(map[uuid.UUID]*living), make(map[uuid.UUID]omniq.Status)
	err := q.run(ctx, stmt{sql: b.sql.of(lockTasksOf), args: []any{sortedIDs(ids)}, row: func(row scanner) error {
		l := new(living)
		var worker, envelope *string
		err := row.Scan((*[16]byte)(&l.id), &l.token, &l.state, &l.attempt, &l.awake, &l.late, &l.wake, &worker, &envelope,
			&l.manual, &l.now)
		if envelope == nil {
			final[l.id] = omniq.Status(l.state)
			return err
		}
		l.worker, l.envelope = text(worker), *envelope
		found[l.id] = l
		return err
	}})
	if err != nil {
		return nil, nil, err
	}
	return found, final, b.known(ctx, q, ids, func(id uuid.UUID) bool { return found[id] != nil || final[id] != 0 })
}

// errMoved says that a task was moved while a transaction waited for it. The transaction begins again: it has locked other
// tasks, and to lock one more after them could be against the order in which all lock.
var errMoved = errors.New("a task was moved meanwhile")

// known fails with errMoved if there is one of the tasks that was not found.
func (b *Backend) known(ctx context.Context, q querier, ids []uuid.UUID, found func(uuid.UUID) bool) error {
	missing := slices.DeleteFunc(slices.Clone(ids), found)
	if len(missing) == 0 {
		return nil
	}
	again := false
	err := q.run(ctx, stmt{sql: b.sql.of(knownTasks), args: []any{sortedIDs(missing)}, row: func(row scanner) error {
		return row.Scan(&again)
	}})
	if err == nil && again {
		return errMoved
	}
	return err
}

// awake calls do in a transaction. Where it returns tasks to which something was to happen by itself, that happens, and do is
// called again.
func (b *Backend) awake(ctx context.Context, do func(querier) (overdue []uuid.UUID, err error)) error {
	for {
		var overdue []uuid.UUID
		err := b.transact(ctx, func(q querier) (err error) {
			overdue, err = do(q)
			return err
		})
		if err != nil || len(overdue) == 0 {
			return err
		}
		for _, id := range overdue {
			if err := b.wake(ctx, id); err != nil {
				return err
			}
		}
	}
}

func stateError(status omniq.Status, want string) error {
	return fmt.Errorf("%w: it is %v, want %s", omniq.ErrState, status, want)
}

// not says that a task is not in the state that was wanted: it is living or, if that is nil, final or not there.
func not(want string, l *living, final omniq.Status) error {
	switch {
	case l != nil:
		return stateError(statusOf(l.state), want)
	case final == 0:
		return omniq.ErrNotFound
	}
	return stateError(final, want)
}

const freeKeys = `DELETE FROM {s}.unique_keys u
	USING (SELECT name, key FROM unnest($1::text[], $2::text[]) AS i (name, key) ORDER BY name, key OFFSET 0) i
	WHERE u.name = ANY (ARRAY[i.name]) AND u.key = ANY (ARRAY[i.key]) RETURNING u.name, u.key, coalesce(u.until > {now}, true)`

// Free takes unique keys from the tasks that hold them: see [omniq.TaskQueue].
func (b *Backend) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	if err := engine.CheckKeys(keys); err != nil {
		return nil, err
	}
	names, texts := make(list[string], len(keys)), make(list[string], len(keys))
	for i, k := range keys {
		names[i], texts[i] = k.FuncName, k.Key
	}
	freed := make(map[omniq.UniqueKey]bool)
	err := b.write(ctx, func() []stmt {
		clear(freed)
		return []stmt{{sql: b.sql.of(freeKeys), args: []any{names, texts}, row: func(row scanner) error {
			var k omniq.UniqueKey
			var held bool
			err := row.Scan(&k.FuncName, &k.Key, &held)
			freed[k] = held
			return err
		}}}
	})
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, k := range keys {
		if !freed[k] {
			errs = engine.Report(errs, len(keys), i, omniq.ErrNotFound)
		}
		delete(freed, k) // a second time there is nothing
	}
	return errs, nil
}

const (
	pauseQueue  = "INSERT INTO {s}.paused (queue) VALUES ($1) ON CONFLICT DO NOTHING"
	resumeQueue = "DELETE FROM {s}.paused WHERE queue = $1"
)

// Pause keeps the tasks of a queue from being leased: see [omniq.TaskQueue].
func (b *Backend) Pause(ctx context.Context, queue string) error {
	if err := engine.CheckQueue(queue); err != nil {
		return err
	}
	return b.write(ctx, func() []stmt {
		return []stmt{{sql: b.sql.of(pauseQueue), args: []any{cmp.Or(queue, omniq.DefaultQueue)}}}
	})
}

// Resume lets the tasks of a queue be leased again: see [omniq.TaskQueue].
func (b *Backend) Resume(ctx context.Context, queue string) error {
	if err := engine.CheckQueue(queue); err != nil {
		return err
	}
	queue = cmp.Or(queue, omniq.DefaultQueue)
	err := b.write(ctx, func() []stmt { return []stmt{{sql: b.sql.of(resumeQueue), args: []any{queue}}} })
	if err == nil {
		b.tell(queueTopic(queue))
	}
	return err
}
