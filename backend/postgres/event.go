package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	appendEvents = `INSERT INTO {s}.events (until, at, name, task_id, type, attempt, queue, worker, error)
		SELECT {until}, at, name, task_id, type, attempt, queue, worker, error
		FROM unnest($1::timestamptz[], $2::uuid[], $3::smallint[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[])
		WITH ORDINALITY AS i (at, task_id, type, attempt, queue, worker, error, name, n) ORDER BY n`

	// What is visible gets the next places, in the order in which it was stored. The row of event_places lets one do it.
	lockPlaces  = "SELECT FROM {s}.event_places FOR UPDATE"
	placeEvents = `WITH
		placed AS (
			UPDATE {s}.events e SET place = p.last + n.n
			FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS n
				FROM (SELECT seq FROM {s}.events WHERE place IS NULL ORDER BY seq LIMIT $1) f) n, {s}.event_places p
			WHERE e.seq = n.seq AND e.place IS NULL RETURNING e.place)
		UPDATE {s}.event_places SET last = last + (SELECT count(*) FROM placed)
		WHERE EXISTS (SELECT FROM placed)`

	newEvents = "SELECT EXISTS (SELECT FROM {s}.events WHERE place IS NULL)"

	lastPlaces = `SELECT last, coalesce((SELECT e.place - 1 FROM {s}.events e WHERE e.place > p.gone AND e.until > {now}
		ORDER BY e.place LIMIT 1), last) FROM {s}.event_places p`

	readEvents = `SELECT place, at, task_id, type, attempt, queue, worker, error, name FROM {s}.events
		WHERE place > $1 ORDER BY place LIMIT $2`
	// By an equality the task would not count for the order, and the index of all places would have that, too.
	readEventsOf = `SELECT place, at, task_id, type, attempt, queue, worker, error, name FROM {s}.events
		WHERE place IS NOT NULL AND (task_id, place) > ($3::uuid, $1::bigint) AND (task_id, place) <= ($3::uuid, 9223372036854775807)
		ORDER BY task_id, place LIMIT $2`

	// None goes before an older one.
	removeEvents = `WITH
		gone AS (
			DELETE FROM {s}.events WHERE place <= (
				SELECT max(place) FROM (
					SELECT place, max(until) OVER (ORDER BY place) AS latest
					FROM (SELECT place, until FROM {s}.events WHERE place > (SELECT gone FROM {s}.event_places) ORDER BY place LIMIT $1) f
				) l WHERE latest <= {now})
			RETURNING place)
		UPDATE {s}.event_places SET gone = (SELECT max(place) FROM gone) WHERE EXISTS (SELECT FROM gone)
		RETURNING (SELECT count(*)::integer FROM gone)`
)

// Append keeps events of tasks that another engine queues: see [omniq.EventStore].
func (b *Backend) Append(ctx context.Context, events []*omniq.TaskEvent) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	if b.config.retention <= 0 {
		return omniq.ErrNoEvents
	}
	if err := engine.CheckEvents(events); err != nil {
		return err
	}
	s, err := b.appending(events)
	if err != nil {
		return err
	}
	err = b.write(ctx, func() []stmt { return []stmt{s} })
	if err == nil {
		b.tell(eventTopic)
	}
	return err
}

// appending is the statement that keeps events.
func (b *Backend) appending(events []*omniq.TaskEvent) (stmt, error) {
	n := len(events)
	ats, ids, types := make(list[pgtype.Timestamptz], n), make(list[pgtype.UUID], n), make(list[int16], n)
	attempts, queues := make(list[int32], n), make(list[string], n)
	workers, failures, names := make(list[*string], n), make(list[pgtype.Text], n), make(list[pgtype.Text], n)
	for i, e := range events {
		if _, err := e.AppendJSON(nil); err != nil {
			return stmt{}, fmt.Errorf("%w: postgres: an event of task %v: %w", omniq.ErrInvalid, e.TaskID, err)
		}
		failure, err := encodeError(e.Error)
		if err != nil {
			return stmt{}, fmt.Errorf("%w: postgres: an event of task %v: %w", omniq.ErrInvalid, e.TaskID, err)
		}
		ats[i], ids[i], types[i] = pgtype.Timestamptz{Time: e.Timestamp, Valid: true}, uuidOf(e.TaskID), int16(e.EventType)
		attempts[i], queues[i], workers[i], failures[i] = int32(e.Attempt), e.Queue, e.WorkerID, failure
		names[i] = textOf(e.FuncName)
	}
	return stmt{sql: b.sql.of(appendEvents), args: []any{ats, ids, types, attempts, queues, workers, failures, names}}, nil
}

// Events returns events after a cursor, and waits for one if it is told to: see [omniq.EventStore].
func (b *Backend) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	if r.Max < 1 {
		return nil, r.After, invalid("at most %d events, want at least 1", r.Max)
	}
	if err := b.alive(ctx); err != nil {
		return nil, r.After, err
	}
	var timeout <-chan time.Time
	if r.Wait > 0 {
		timer := time.NewTimer(r.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	s := b.hub.subscribe(eventTopic)
	defer b.hub.cancel(s)
	poll := time.NewTicker(b.config.poll)
	defer poll.Stop()
	for {
		events, next, err := b.readEvents(ctx, r)
		if err != nil {
			return nil, r.After, err
		}
		if len(events) == 0 && r.After == omniq.CursorOldest && r.Task == uuid.Nil {
			next = r.After
		}
		if len(events) > 0 || r.Wait <= 0 {
			return events, next, nil
		}
		r.After = next
		select {
		case <-s.woken:
		case <-poll.C:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			return nil, r.After, contextError(ctx)
		case <-b.closing:
			return nil, r.After, omniq.ErrClosed
		}
	}
}

// place gives places to the events that have none. Who reads needs them; nobody else does.
func (b *Backend) place(ctx context.Context) error {
	var p pace
	for {
		found := false
		err := b.search(ctx, stmt{sql: b.sql.of(newEvents), row: func(row scanner) error { return row.Scan(&found) }})
		if err != nil || !found {
			return err
		}
		limit, began := p.rows(), time.Now()
		err = b.write(ctx, func() []stmt {
			return []stmt{{sql: b.sql.of(lockPlaces)}, {sql: b.sql.of(placeEvents), args: []any{limit}}}
		})
		if err != nil {
			return err
		}
		p.done(limit, time.Since(began))
	}
}

// readEvents returns the events that there are.
func (b *Backend) readEvents(ctx context.Context, r omniq.EventsRequest) (events []omniq.StoredEvent, next omniq.Cursor, err error) {
	if err := b.place(ctx); err != nil {
		return nil, "", err
	}
	if err := b.alive(ctx); err != nil {
		return nil, "", err
	}
	err = b.with(ctx, func(c *pgx.Conn) error {
		q := transaction{c}
		var last, gone int64
		err := q.run(ctx, append(head(beginReading, 0), stmt{sql: b.sql.of(lastPlaces), row: func(row scanner) error {
			return row.Scan(&last, &gone)
		}})...)
		if err != nil {
			return err
		}
		if last == 0 && b.config.retention <= 0 {
			return &known{omniq.ErrNoEvents}
		}
		after, err := engine.After(r.After, last, gone)
		if err != nil {
			return &known{err}
		}
		next = engine.Cursor(after)
		find, args := readEvents, []any{after, r.Max}
		if r.Task != uuid.Nil {
			find, args, next = readEventsOf, append(args, uuidOf(r.Task)), engine.Cursor(last)
		}
		read := stmt{sql: b.sql.of(find), args: args, row: func(row scanner) error {
			e, err := scanEvent(row)
			next = e.Cursor
			events = append(events, e)
			return err
		}}
		return q.run(ctx, read, stmt{sql: commit})
	})
	return events, next, b.wrap(ctx, err)
}

func scanEvent(row scanner) (omniq.StoredEvent, error) {
	e := new(omniq.TaskEvent)
	var place int64
	var what int16
	var failure, name *string
	err := row.Scan(&place, &e.Timestamp, (*[16]byte)(&e.TaskID), &what, &e.Attempt, &e.Queue, &e.WorkerID, &failure, &name)
	e.Timestamp, e.EventType = e.Timestamp.UTC(), omniq.EventType(what)
	e.FuncName = text(name)
	if err == nil && failure != nil {
		e.Error = decodeError(*failure)
	}
	return omniq.StoredEvent{Cursor: engine.Cursor(place), TaskEvent: e}, err
}

// sweepEvents removes the first events whose time is over.
func (b *Backend) sweepEvents(ctx context.Context) error {
	err := b.place(ctx)
	var p pace
	for more := true; err == nil && more; {
		n := 0
		limit, began := p.rows(), time.Now()
		bound, cancel := bounded(ctx)
		err = b.write(bound, func() []stmt {
			n = 0
			return []stmt{
				{sql: unflushed}, {sql: b.sql.of(lockPlaces)},
				{sql: b.sql.of(removeEvents), args: []any{limit}, row: func(row scanner) error { return row.Scan(&n) }},
			}
		})
		cancel()
		more = n == limit
		p.done(limit, time.Since(began))
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
