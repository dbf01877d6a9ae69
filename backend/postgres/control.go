package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
				wake, worker, task
			FROM {s}.tasks WHERE id = ANY ($1) ORDER BY id FOR UPDATE)
		SELECT id, coalesce(token, 0), state, attempt, awake, late, wake, worker, task, {now} FROM living
		UNION ALL
		SELECT id, 0, status, 0, false, false, NULL, NULL, NULL, {now} FROM {s}.results
		WHERE id = ANY ($1) AND (expires IS NULL OR expires > {now})`

	knownTasks = `SELECT EXISTS (SELECT FROM {s}.tasks WHERE id = ANY ($1))
		OR EXISTS (SELECT FROM {s}.results WHERE id = ANY ($1) AND (expires IS NULL OR expires > {now}))`

	revokeLeases = `INSERT INTO {s}.revoked (worker, id, token, until)
		SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[])`
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
	now      time.Time
}

// lock locks those of the tasks that are not final, and finds the statuses of those that are. It fails with errMoved.
func (b *Backend) lock(ctx context.Context, q querier, ids []uuid.UUID) (map[uuid.UUID]*living, map[uuid.UUID]omniq.Status, error) {
	found, final := make(map[uuid.UUID]*living), make(map[uuid.UUID]omniq.Status)
	err := q.run(ctx, stmt{sql: b.sql.of(lockTasksOf), args: []any{sortedIDs(ids)}, row: func(row scanner) error {
		l := new(living)
		var worker, envelope *string
		err := row.Scan((*[16]byte)(&l.id), &l.token, &l.state, &l.attempt, &l.awake, &l.late, &l.wake, &worker, &envelope, &l.now)
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

// Cancel ends tasks that are not final: see [omniq.TaskQueue].
func (b *Backend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	var errs []error
	var endings []ending
	var workers []string
	err := b.transact(ctx, func(q querier) error {
		errs, endings, workers = nil, nil, nil
		found, final, err := b.lock(ctx, q, ids)
		if err != nil {
			return err
		}
		var names list[string]
		var tasks list[pgtype.UUID]
		var tokens list[int64]
		var untils list[pgtype.Timestamptz]
		for id, l := range found {
			status := omniq.StatusCancelled
			if l.awake && l.late {
				status = omniq.StatusExpired // before anybody could cancel it
			}
			e, err := endingOf(l.hold, l.envelope, status, l.now, l.attempt)
			if err != nil {
				return err
			}
			endings, final[id] = append(endings, e), status
			if l.state == stateRunning && !l.awake && l.wake != nil {
				names, tasks, tokens = append(names, l.worker), append(tasks, uuidOf(id)), append(tokens, l.token)
				untils = append(untils, timeOf(*l.wake))
			}
		}
		workers = names
		for i, id := range ids {
			switch status := final[id]; status {
			case 0:
				errs = engine.Report(errs, len(ids), i, omniq.ErrNotFound)
			case omniq.StatusCancelled:
			default:
				errs = engine.Report(errs, len(ids), i, stateError(status, "one that is not final"))
			}
		}
		if len(endings) == 0 {
			return nil
		}
		finish, err := b.finish(endings, true, func(hold) {})
		if err != nil {
			return err
		}
		stmts := []stmt{{sql: b.sql.of(replaceResults), args: finish.args[:1]}, finish}
		if len(names) > 0 {
			stmts = append(stmts, stmt{sql: b.sql.of(revokeLeases), args: []any{names, tasks, tokens, untils}})
		}
		return q.run(ctx, stmts...)
	})
	if err != nil {
		return nil, err
	}
	b.ended(endings)
	topics := make([]topic, len(workers))
	for i, w := range workers {
		topics[i] = workerTopic(w)
	}
	b.tell(topics...)
	return errs, nil
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

const takeRevoked = `DELETE FROM {s}.revoked WHERE ctid = ANY (ARRAY (
	SELECT ctid FROM {s}.revoked WHERE worker = $1 ORDER BY id, token FOR UPDATE)) RETURNING id, token`

// Revoked waits for leases of the worker that were lost because their tasks were cancelled, and returns them: see
// [omniq.TaskQueue].
func (b *Backend) Revoked(ctx context.Context, workerID string) ([]omniq.LeaseID, error) {
	if err := engine.CheckWorker(workerID); err != nil {
		return nil, err
	}
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	s := b.hub.watch('w', workerID)
	defer b.hub.cancel(s)
	for {
		var leases []omniq.LeaseID
		bound, cancel := bounded(ctx)
		err := b.write(bound, func() []stmt {
			leases = nil
			return []stmt{{sql: b.sql.of(takeRevoked), args: []any{workerID}, row: func(row scanner) error {
				var h hold
				err := row.Scan((*[16]byte)(&h.id), &h.token)
				leases = append(leases, omniq.LeaseID{TaskID: h.id, Token: formatToken(h.token)})
				return err
			}}}
		})
		cancel()
		if err != nil || len(leases) > 0 {
			return leases, err
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-b.closing:
			return nil, omniq.ErrClosed
		}
	}
}

const (
	lockResults = `SELECT id, status, task, {now} FROM {s}.results
		WHERE id = ANY ($1) AND (expires IS NULL OR expires > {clock}) ORDER BY id FOR UPDATE`
)

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue].
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	var errs []error
	var e *enqueuing
	err := b.transact(ctx, func(q querier) (err error) {
		errs, e, err = b.requeue(ctx, q, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(e.tasks) > 0 {
		e.announce()
	}
	return errs, nil
}

func (b *Backend) requeue(ctx context.Context, q querier, ids []uuid.UUID) (errs []error, e *enqueuing, err error) {
	e = &enqueuing{b: b}
	e.begin()
	living, found, err := b.lockFinal(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	const want = "one that is final without success"
	places := make(map[uuid.UUID]int) // of the first time that it is asked for
	for i, id := range ids {
		d, l := found[id], living[id]
		_, again := places[id]
		switch {
		case l != nil:
			errs = engine.Report(errs, len(ids), i, stateError(statusOf(l.state), want))
		case d == nil:
			errs = engine.Report(errs, len(ids), i, omniq.ErrNotFound)
		case text(d.envelope) == "":
			errs = engine.Report(errs, len(ids), i, stateError(d.status, want))
		case again:
			errs = engine.Report(errs, len(ids), i, stateError(omniq.StatusPending, want))
		default:
			raw := new(omniq.RawTask)
			if err := raw.UnmarshalJSON([]byte(*d.envelope)); err != nil {
				errs = engine.Report(errs, len(ids), i, fmt.Errorf("postgres: task %v: %w", id, err))
				continue
			}
			raw.CreatedAt, raw.RunAt, raw.Delay = d.now.UTC(), time.Time{}, 0
			t, err := encode(raw)
			if err != nil {
				return nil, nil, err
			}
			if raw.TTL != nil { // its whole TTL, whatever this program's clock says
				t.remaining.Int64 = microseconds(*raw.TTL)
			}
			places[id] = i
			e.tasks = append(e.tasks, t)
		}
	}
	if len(e.tasks) == 0 {
		return errs, e, nil
	}
	return b.revive(ctx, q, e, errs, places, len(ids))
}

// dead is a task that is final, and whose result is locked.
type dead struct {
	status   omniq.Status
	envelope *string // nil for one that succeeded
	now      time.Time
}

// lockFinal locks tasks, those that are final as well. It fails with errMoved.
func (b *Backend) lockFinal(ctx context.Context, q querier, ids []uuid.UUID) (map[uuid.UUID]*living, map[uuid.UUID]*dead, error) {
	living, _, err := b.lock(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[uuid.UUID]*dead)
	err = q.run(ctx, stmt{sql: b.sql.of(lockResults), args: []any{sortedIDs(ids)}, row: func(row scanner) error {
		var id uuid.UUID
		var status int16
		d := new(dead)
		err := row.Scan((*[16]byte)(&id), &status, &d.envelope, &d.now)
		d.status = omniq.Status(status)
		found[id] = d
		return err
	}})
	if err != nil {
		return nil, nil, err
	}
	return living, found, b.known(ctx, q, ids, func(id uuid.UUID) bool { return living[id] != nil || found[id] != nil })
}

// revive enqueues tasks again whose results are locked. Who does not get its unique key stays as it is.
func (b *Backend) revive(ctx context.Context, q querier, e *enqueuing, errs []error, places map[uuid.UUID]int, n int) (
	[]error, *enqueuing, error,
) {
	seen := make(map[uniqueKey]uuid.UUID)
	var keyed []claim
	holders := make(map[uuid.UUID]uuid.UUID)
	for i := range e.tasks {
		t := &e.tasks[i]
		if t.unique.key == "" {
			continue
		}
		if first, ok := seen[t.unique]; ok {
			holders[t.id] = first
			continue
		}
		seen[t.unique] = t.id
		keyed = append(keyed, claimOf(t))
	}
	held, err := b.claim(ctx, q, keyed)
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(holders, held)
	stay := e.tasks[:0]
	var ids []uuid.UUID
	for _, t := range e.tasks {
		if holder, refused := holders[t.id]; refused && holder != t.id { // its own key may be held for a time
			errs = engine.Report(errs, n, places[t.id], omniq.Duplicate{ID: t.id, Holder: holder})
			continue
		}
		t.place = len(stay)
		stay, ids = append(stay, t), append(ids, t.id)
	}
	e.tasks = stay
	if len(stay) == 0 {
		return errs, e, nil
	}
	e.begin()
	err = q.run(ctx, append([]stmt{{sql: b.sql.of(dropResults), args: []any{sortedIDs(ids)}}, b.renew(stay)}, e.insert(stay, false)...)...)
	if err != nil {
		return nil, nil, err
	}
	for i := range stay {
		if e.errs[i] != nil { // somebody has written into the tables by hand
			return nil, nil, fmt.Errorf("task %v is queued and final at once", stay[i].id)
		}
	}
	return errs, e, nil
}

// Who holds the same key for another task is left alone.
const renewKeys = `INSERT INTO {s}.unique_keys AS u (name, key, id, until)
	SELECT name, key, id, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END FROM ` + claims + `
	ORDER BY name, key
	ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE u.id = excluded.id OR u.until <= {now}`

// renew lets tasks hold the keys that are theirs, and their IDs, for their times from now on.
func (b *Backend) renew(tasks []newTask) stmt {
	list := make([]claim, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		if t.unique.key != "" {
			list = append(list, claimOf(t))
		}
		if t.idFor > 0 {
			list = append(list, claim{ID: t.id, Key: t.id.String(), Hold: microseconds(t.idFor)})
		}
	}
	return stmt{sql: b.sql.of(renewKeys), args: []any{jsonText(list)}}
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
