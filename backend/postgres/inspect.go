package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// The columns of a row that is a task, and of one that is a result, for people to look at. The flag among them says that
// something was to happen to the task by itself, or that the result is not kept.
const (
	taskInfo = `SELECT id, state, name, queue, since, due, worker, {overdue}, attempt, lost, error, task, NULL,
		flow, tie, resumed, progress, saved, lane, CASE WHEN state = 2 THEN wake END FROM `

	resultInfo = `SELECT id, status, name, queue, since, due, worker, coalesce(expires <= {now}, false), 0, lost, NULL, task, result,
		flow, tie, resumed, progress, saved, lane, NULL FROM `
)

// info is what such a row tells.
type info struct {
	*omniq.TaskInfo
	over    bool   // something was to happen to the task, or the result is not kept
	tie     *int64 // by which its edges are found
	resumed bool   // they are those that it has passed its result on to
	task    string // its envelope, as far as it is kept
	since   pgtype.Timestamptz
}

func scanInfo(row scanner) (i info, err error) {
	i.TaskInfo = new(omniq.TaskInfo)
	var state int16
	var since, due, expires pgtype.Timestamptz // in a row that was written by hand they may be infinite
	var worker, failure, task, result, progress, saved, lane *string
	var flow pgtype.UUID
	var resumed *bool
	err = row.Scan((*[16]byte)(&i.ID), &state, &i.FuncName, &i.Queue, &since, &due, &worker, &i.over,
		&i.Attempts, &i.Lost, &failure, &task, &result, &flow, &i.tie, &resumed, &progress, &saved, &lane, &expires)
	if err != nil {
		return i, err
	}
	i.Lane, i.since = text(lane), since
	i.Since, i.WorkerID, i.Flow, i.resumed = since.Time.UTC(), text(worker), flow.Bytes, resumed != nil && *resumed
	if due.Valid {
		i.Due = due.Time.UTC()
	}
	if expires.Valid {
		i.Expires = expires.Time.UTC()
	}
	if progress != nil {
		i.Progress = omniq.Raw(*progress)
	}
	if saved != nil {
		i.State = omniq.Raw(*saved)
	}
	if result != nil {
		r := new(omniq.RawResult)
		if err := decodeResult(i.ID, *result, r); err != nil { // it was written by hand, and must not hide the others
			r = &omniq.RawResult{Status: omniq.Status(state), Error: &omniq.TaskError{Type: "omniq.Decode", Message: err.Error()}}
		}
		i.Status, i.Attempts, i.Error = r.Status, r.Attempts, r.Error
	} else {
		i.Status = statusOf(state)
		if failure != nil {
			i.Error = decodeError(*failure)
		}
	}
	if i.task = text(task); task != nil {
		i.Task = new(omniq.RawTask)
		if err := i.Task.UnmarshalJSON([]byte(*task)); err != nil {
			i.Task = nil // it fails, or has failed, by being unreadable
		}
	}
	return i, nil
}

const inspectTask = taskInfo + "{s}.tasks WHERE id = $1 UNION ALL " + resultInfo + "{s}.results WHERE id = $1 AND (expires IS NULL OR expires > {now})"

// Inspect tells what is known of a task: see [omniq.TaskQueue].
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	for {
		var found []info // the task, and what is left of an earlier life
		err := b.read(ctx, stmt{sql: b.sql.of(inspectTask), args: []any{uuidOf(id)}, row: func(row scanner) error {
			i, err := scanInfo(row)
			found = append(found, i)
			return err
		}})
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, omniq.ErrNotFound
		case !found[0].over:
			return found[0].TaskInfo, b.dependencies(ctx, found[:1])
		}
		if err := b.wake(ctx, id); err != nil {
			return nil, err
		}
	}
}

// complete adds what tasks wait for to what is told of them.
func (b *Backend) complete(ctx context.Context, page []info) ([]*omniq.TaskInfo, error) {
	list := make([]*omniq.TaskInfo, len(page))
	for i := range page {
		list[i] = page[i].TaskInfo
	}
	return list, b.dependencies(ctx, page)
}

const overdue = `SELECT EXISTS (SELECT FROM {s}.tasks WHERE wake <= {now})
	OR EXISTS (SELECT FROM {s}.tasks WHERE state < 2 AND deadline <= {now})`

// settled does what was to happen to tasks by itself, if there is something. Where that is much it does some of it, and what
// is then read is a little late.
func (b *Backend) settled(ctx context.Context) error {
	var found bool
	err := b.search(ctx, stmt{sql: b.sql.of(overdue), row: func(row scanner) error { return row.Scan(&found) }})
	if err != nil || !found {
		return err
	}
	_, err = b.wakeSome(ctx)
	return err
}

const (
	sumCounts = `SELECT queue, state, sum(n)::bigint FROM (
			SELECT queue, state, n FROM {s}.counts
			UNION ALL SELECT queue, status, -count(*) FROM (
				SELECT queue, status FROM {s}.results WHERE expires <= {now} ORDER BY expires LIMIT $1) r GROUP BY queue, status) c
		GROUP BY queue, state HAVING sum(n) <> 0`

	// One look for each priority, and for each lane, as far as there are not very many.
	oldestReady = `SELECT q.queue, (extract(epoch FROM {now} - (
			WITH RECURSIVE step (rank, due) AS (
				(SELECT rank, due FROM {s}.tasks WHERE state = 1 AND lane IS NULL AND queue = q.queue ORDER BY rank, due LIMIT 1)
				UNION ALL
				SELECT n.rank, n.due FROM step CROSS JOIN LATERAL (
					SELECT t.rank, t.due FROM {s}.tasks t WHERE state = 1 AND lane IS NULL AND queue = q.queue AND t.rank > step.rank
					ORDER BY t.rank, t.due LIMIT 1) n
			) SELECT min(due) FROM (SELECT due FROM (SELECT due FROM step LIMIT 1000) s
				UNION ALL SELECT due FROM (
					WITH RECURSIVE step (lane, rank, due) AS (
						(SELECT lane, rank, due FROM {s}.tasks WHERE state = 1 AND lane IS NOT NULL AND queue = q.queue ORDER BY lane, rank, due LIMIT 1)
						UNION ALL
						SELECT n.* FROM step CROSS JOIN LATERAL (
							SELECT t.lane, t.rank, t.due FROM {s}.tasks t WHERE state = 1 AND lane IS NOT NULL AND queue = q.queue
								AND (t.lane, t.rank) > (step.lane, step.rank) ORDER BY t.lane, t.rank, t.due LIMIT 1) n
					) SELECT due FROM step LIMIT 10000) l
			) s WHERE due > '-infinity')) * 1000000)::bigint
		FROM (SELECT queue FROM {s}.counts WHERE state = 1 GROUP BY queue HAVING sum(n) > 0) q`

	pausedQueues = "SELECT queue FROM {s}.paused"
)

// Stats returns figures of each queue: see [omniq.TaskQueue]. Its time is that of the number of queues, and of the priorities
// and lanes in them. Results whose time is over may count until they are removed, where there are very many.
func (b *Backend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	if err := b.settled(ctx); err != nil {
		return nil, err
	}
	queues := make(map[string]*omniq.QueueStats)
	of := func(name string) *omniq.QueueStats {
		if queues[name] == nil {
			queues[name] = &omniq.QueueStats{Queue: name}
		}
		return queues[name]
	}
	err := b.read(ctx,
		stmt{sql: b.sql.of(sumCounts), args: []any{looked}, row: func(row scanner) error {
			var queue string
			var state int16
			var n int
			err := row.Scan(&queue, &state, &n)
			count(of(queue), state, n)
			return err
		}},
		stmt{sql: b.sql.of(oldestReady), row: func(row scanner) error {
			var queue string
			var us *int64
			err := row.Scan(&queue, &us)
			if err == nil && us == nil {
				b.maintainer.wrong() // none of those that there should be
			}
			if us != nil {
				of(queue).Latency = max(0, time.Duration(*us)*time.Microsecond)
			}
			return err
		}},
		stmt{sql: b.sql.of(pausedQueues), row: func(row scanner) error {
			var queue string
			err := row.Scan(&queue)
			of(queue).Paused = true
			return err
		}},
		stmt{sql: b.sql.of(countLanes), row: func(row scanner) error {
			var queue string
			var n int
			err := row.Scan(&queue, &n)
			of(queue).Lanes = n
			return err
		}},
		stmt{sql: b.sql.of(limitsOf), row: func(row scanner) error {
			var queue, spec string
			if err := row.Scan(&queue, &spec); err != nil {
				return err
			}
			if of(queue).Limit.UnmarshalText([]byte(spec)) != nil { // SQL has written it
				of(queue).Limit = omniq.Limit{}
			}
			return nil
		}})
	if err != nil {
		return nil, err
	}
	stats := make([]omniq.QueueStats, 0, len(queues))
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		stats = append(stats, *queues[name])
	}
	return stats, nil
}

// count adds tasks or results of a state.
func count(s *omniq.QueueStats, state int16, n int) {
	switch {
	case state == stateScheduled:
		s.Scheduled += n
	case state <= stateRunning:
		engine.Count(s, statusOf(state), n)
	default:
		engine.Count(s, omniq.Status(state), n)
	}
}
