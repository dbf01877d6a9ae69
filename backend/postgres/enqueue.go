package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

// newTask is what is stored of a task.
type newTask struct {
	place     int // in the call
	id        uuid.UUID
	name      string
	queue     string
	rank      int64 // see the table
	runAt     time.Time
	deadline  time.Time // zero for none
	uniqueKey string
	uniqueFor time.Duration
	envelope  string
}

func encode(t *omniq.RawTask) (n newTask, err error) {
	buf, err := t.AppendJSON(make([]byte, 0, 256+len(t.Args)+len(t.Kwargs)))
	if err != nil {
		return n, fmt.Errorf("%w: postgres: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	n = newTask{
		id: t.ID, name: t.FuncName, queue: cmp.Or(t.Queue, omniq.DefaultQueue), rank: ^int64(t.Priority),
		uniqueKey: t.UniqueKey, uniqueFor: t.UniqueFor, envelope: string(buf),
	}
	if !t.RunAt.IsZero() {
		n.runAt = micros(t.RunAt)
	}
	if deadline, ok := t.Deadline(); ok {
		n.deadline = micros(deadline)
	}
	return n, nil
}

// enqueuing is one call of Enqueue.
type enqueuing struct {
	b     *Backend
	tasks []newTask // in the order of the call
	plain bool      // only parameters that each driver can send: texts

	errs   []error         // nil as long as all went well
	queues map[string]bool // of the tasks that are stored
	next   time.Time       // when something happens to one of them by itself; zero for never
}

func (b *Backend) newEnqueuing(tasks []*omniq.RawTask) (*enqueuing, error) {
	e := &enqueuing{b: b, tasks: make([]newTask, len(tasks))}
	for i, t := range tasks {
		n, err := encode(t)
		if err != nil {
			return nil, err
		}
		n.place = i
		e.tasks[i] = n
	}
	return e, nil
}

// Enqueue implements [omniq.TaskQueue].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	e, err := b.newEnqueuing(tasks)
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, b.alive(ctx)
	}
	if e.simple() {
		err = b.write(ctx, func() []stmt { e.begin(); return e.insert(e.tasks) })
	} else {
		err = b.transact(ctx, func(q querier) error { return e.run(ctx, q) })
	}
	if err != nil {
		return nil, err
	}
	e.compare(e.tasks)
	e.announce()
	return e.result(), nil
}

// announce tells those who wait for tasks.
func (e *enqueuing) announce() {
	topics := make([]topic, 0, len(e.queues)+1)
	for q := range e.queues {
		topics = append(topics, queueTopic(q))
	}
	if e.b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	e.b.tell(topics...)
	if !e.next.IsZero() {
		e.b.maintainer.poke(time.Until(e.next))
	}
}

// simple reports whether one statement does: there are no unique keys, and no ID twice.
func (e *enqueuing) simple() bool {
	seen := make(map[uuid.UUID]bool, len(e.tasks))
	for i := range e.tasks {
		n := &e.tasks[i]
		if n.uniqueKey != "" || seen[n.id] {
			return false
		}
		seen[n.id] = true
	}
	return len(e.tasks) <= maxPlaces
}

// maxPlaces is how many tasks a statement may store, see task_order.
const maxPlaces = 65536

// begin forgets what a transaction did that was undone.
func (e *enqueuing) begin() {
	e.errs, e.queues, e.next = make([]error, len(e.tasks)), make(map[string]bool), time.Time{}
}

// run stores tasks in waves: in each there is no ID and no unique key twice, so that what comes later in the call sees
// what became of what comes before it.
func (e *enqueuing) run(ctx context.Context, q querier) error {
	e.begin()
	for left := e.tasks; len(left) > 0; {
		ids, keys := make(map[uuid.UUID]bool), make(map[[2]string]bool)
		var wave, rest []newTask
		for _, n := range left {
			key := [2]string{n.name, n.uniqueKey}
			if ids[n.id] || n.uniqueKey != "" && keys[key] || len(wave) == maxPlaces {
				rest = append(rest, n)
			} else {
				wave = append(wave, n)
			}
			ids[n.id], keys[key] = true, true
		}
		left = rest
		wave, err := e.hold(ctx, q, wave)
		if err != nil {
			return err
		}
		if len(wave) == 0 {
			continue
		}
		if err := q.run(ctx, e.insert(wave)...); err != nil {
			return err
		}
		e.compare(wave)
		if err := e.release(ctx, q, wave); err != nil {
			return err
		}
	}
	return nil
}

// result is one error for each task, or nil.
func (e *enqueuing) result() []error {
	if !slices.ContainsFunc(e.errs, func(err error) bool { return err != nil }) {
		return nil
	}
	return e.errs
}

// errNotStored is the error of a task until the database says that it is stored.
var errNotStored = errors.New("postgres: not stored")

// compare reports those of the tasks that were not stored.
func (e *enqueuing) compare(tasks []newTask) {
	for i := range tasks {
		if t := &tasks[i]; errors.Is(e.errs[t.place], errNotStored) {
			e.errs[t.place] = omniq.Duplicate{ID: t.id, Holder: t.id}
		}
	}
}

const (
	lockTasks      = "SELECT FROM {s}.tasks WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE"
	lockTasksPlain = "SELECT FROM {s}.tasks WHERE id = ANY ($1::text::uuid[]) ORDER BY id FOR KEY SHARE"

	insertTasks      = insertFrom + arraysOfTasks + insertInto
	insertTasksPlain = insertFrom + jsonOfTasks + insertInto

	arraysOfTasks = `unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[],
			$8::text[], $9::text[]) AS i (id, place, rank, run_at, deadline, name, queue, unique_key, task)`
	jsonOfTasks = `json_to_recordset($1::text::json) AS i (id uuid, place bigint, rank bigint, run_at timestamptz,
			deadline timestamptz, name text, queue text, unique_key text, task text)`

	// A place is that of the task in the call. A result whose time is over, of an earlier life, gives way.
	insertFrom = `WITH
	input AS MATERIALIZED (
		SELECT i.*, coalesce(i.run_at, {now}) AS due, r.id IS NOT NULL AS dead, coalesce(r.expires > {now}, r.id IS NOT NULL) AS kept
		FROM `
	insertInto = `
		LEFT JOIN {s}.results r ON r.id = i.id),
	number AS MATERIALIZED (SELECT nextval('{s}.task_order') AS n),
	stored AS (
		INSERT INTO {s}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, unique_key, task)
		SELECT id, (SELECT n FROM number) * 65536 + place, rank, due, deadline,
			CASE WHEN due <= {now} THEN deadline ELSE least(due, deadline) END, {now},
			CASE WHEN due <= {now} AND (deadline IS NULL OR deadline > {now}) THEN 1 ELSE 0 END,
			0, name, queue, unique_key, task
		FROM input WHERE NOT kept ORDER BY id
		ON CONFLICT (id) DO NOTHING RETURNING id, seq, queue, state, wake),
	removed AS (
		DELETE FROM {s}.results r USING input i WHERE r.id = i.id AND i.dead AND NOT i.kept RETURNING r.queue, r.status),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, state, count(*) FROM stored GROUP BY queue, state
		UNION ALL SELECT queue, status, -count(*) FROM removed GROUP BY queue, status)
	{events:, noted AS (
		INSERT INTO {s}.events (until, at, task_id, type, attempt, queue)
		SELECT {until}, {now}, id, 1, 0, queue FROM stored ORDER BY seq):events}
	SELECT seq & 65535, wake FROM stored`
)

// insert stores tasks that hold their unique keys, and have different IDs. It waits first for those who are removing
// tasks with these IDs, because they are storing results that insertTasks is to see.
func (e *enqueuing) insert(tasks []newTask) []stmt {
	order := make([]int, len(tasks)) // all lock in the order of the IDs, so that nobody waits for each other
	for i := range order {
		order[i] = i
		e.errs[tasks[i].place] = errNotStored
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(tasks[a].id[:], tasks[b].id[:]) })
	stored := func(row scanner) error {
		var place int
		var wake *time.Time
		if err := row.Scan(&place, &wake); err != nil {
			return err
		}
		t := &tasks[place]
		e.b.floors.ready(t.queue, t.rank, t.runAt)
		e.errs[t.place] = nil
		e.queues[t.queue] = true
		if wake != nil && (e.next.IsZero() || wake.Before(e.next)) {
			e.next = *wake
		}
		return nil
	}
	if e.plain {
		return insertPlain(e.b.sql, tasks, order, stored)
	}
	n := len(tasks)
	ids, places, ranks := make(list[pgtype.UUID], n), make(list[int64], n), make(list[int64], n)
	runAts, deadlines := make(list[pgtype.Timestamptz], n), make(list[pgtype.Timestamptz], n)
	names, queues := make(list[string], n), make(list[string], n)
	keys, envelopes := make(list[pgtype.Text], n), make(list[string], n)
	for i, place := range order {
		t := &tasks[place]
		ids[i], places[i], ranks[i] = uuidOf(t.id), int64(place), t.rank
		runAts[i], deadlines[i] = timeOf(t.runAt), timeOf(t.deadline)
		names[i], queues[i], keys[i], envelopes[i] = t.name, t.queue, textOf(t.uniqueKey), t.envelope
	}
	return []stmt{
		{sql: e.b.sql.of(lockTasks), args: []any{ids}},
		{
			sql:  e.b.sql.of(insertTasks),
			args: []any{ids, places, ranks, runAts, deadlines, names, queues, keys, envelopes},
			row:  stored,
		},
	}
}

// insertPlain is insert with texts for parameters.
func insertPlain(sql *templates, tasks []newTask, order []int, stored func(scanner) error) []stmt {
	type row struct {
		ID        uuid.UUID  `json:"id"`
		Place     int        `json:"place"`
		Rank      int64      `json:"rank"`
		RunAt     *time.Time `json:"run_at"`
		Deadline  *time.Time `json:"deadline"`
		Name      string     `json:"name"`
		Queue     string     `json:"queue"`
		UniqueKey *string    `json:"unique_key"`
		Task      string     `json:"task"`
	}
	rows := make([]row, len(order))
	ids := make([]string, len(order))
	for i, place := range order {
		t := &tasks[place]
		rows[i] = row{
			t.id, place, t.rank, unlessZero(t.runAt), unlessZero(t.deadline), t.name, t.queue, unlessZero(t.uniqueKey),
			t.envelope,
		}
		ids[i] = t.id.String()
	}
	return []stmt{
		{sql: sql.of(lockTasksPlain), args: []any{"{" + strings.Join(ids, ",") + "}"}},
		{sql: sql.of(insertTasksPlain), args: []any{jsonText(rows)}, row: stored},
	}
}

// unlessZero points to a value, unless it is the zero one, which is NULL.
func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// jsonText is for values that JSON can always hold.
func jsonText(v any) string {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return buf.String()
}

// timeOf is a time, or NULL for the zero one.
func timeOf(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }
