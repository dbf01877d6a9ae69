package postgres

import (
	"context"
	"encoding/json"
	"fmt"
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
	taskInfo = `SELECT id, state, name, queue, since, due, worker, coalesce(wake <= {now}, false), attempt, error, task,
		NULL FROM {s}.tasks `
	resultInfo = `SELECT id, status, name, queue, since, due, worker, coalesce(expires <= {now}, false), 0, NULL, task,
		result FROM {s}.results `
)

// scanInfo reads such a row. over is for a task to which something was to happen, and a result that is not kept.
func scanInfo(row scanner) (info *omniq.TaskInfo, over bool, err error) {
	info = new(omniq.TaskInfo)
	var state int16
	var due *time.Time
	var worker, failure, task, result *string
	err = row.Scan((*[16]byte)(&info.ID), &state, &info.FuncName, &info.Queue, &info.Since, &due, &worker, &over,
		&info.Attempts, &failure, &task, &result)
	if err != nil {
		return nil, false, err
	}
	info.Since, info.WorkerID = info.Since.UTC(), text(worker)
	if due != nil {
		info.Due = due.UTC()
	}
	if result != nil {
		r := new(omniq.RawResult)
		if err := decodeResult(info.ID, *result, r); err != nil {
			return nil, false, err
		}
		info.Status, info.Attempts, info.Error = r.Status, r.Attempts, r.Error
	} else {
		info.Status = statusOf[state]
		if failure != nil {
			info.Error = new(omniq.TaskError)
			if err := json.Unmarshal([]byte(*failure), info.Error); err != nil {
				return nil, false, fmt.Errorf("the error of task %v: %w", info.ID, err)
			}
		}
	}
	if task != nil {
		info.Task = new(omniq.RawTask)
		if err := info.Task.UnmarshalJSON([]byte(*task)); err != nil {
			info.Task = nil // it fails, or has failed, by being unreadable
		}
	}
	return info, over, nil
}

const inspectTask = taskInfo + "WHERE id = $1 UNION ALL " + resultInfo + "WHERE id = $1 AND (expires IS NULL OR expires > {now})"

// Inspect implements [omniq.TaskQueue].
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	for {
		var found *omniq.TaskInfo
		var overdue bool
		err := b.read(ctx, stmt{sql: b.sql.of(inspectTask), args: []any{uuidOf(id)}, row: func(row scanner) (err error) {
			if found == nil {
				found, overdue, err = scanInfo(row)
			}
			return err
		}})
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			return nil, omniq.ErrNotFound
		case !overdue:
			return found, nil
		}
		if err := b.wake(ctx, id); err != nil {
			return nil, err
		}
	}
}

// Pages are in the order of the IDs: the one thing of a task that stays what it is.
const (
	listPending = taskInfo + "WHERE state IN (0, 1) AND id > $1 AND ($2 = '' OR queue = $2) ORDER BY id LIMIT $3"

	// Each of these has a lease that will run out, and an index has those.
	listRunning = "WITH running AS MATERIALIZED (" + `SELECT id FROM {s}.tasks WHERE wake IS NOT NULL AND state = 2 AND
		id > $1 AND ($2 = '' OR queue = $2)) ` + taskInfo + `WHERE id = ANY (ARRAY (SELECT id FROM running ORDER BY id LIMIT $3))
		ORDER BY id`

	listSucceeded = resultInfo + `WHERE status = 3 AND (expires IS NULL OR expires > {now}) AND id > $1 AND
		($2 = '' OR queue = $2) ORDER BY id LIMIT $3`

	// The index wants to see the condition.
	listUnsuccessful = resultInfo + `WHERE status > 3 AND status = $4 AND (expires IS NULL OR expires > {now}) AND id > $1 AND
		($2 = '' OR queue = $2) ORDER BY id LIMIT $3`
)

// List implements [omniq.TaskQueue].
func (b *Backend) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if r.Max < 1 || !slices.Contains(omniq.Statuses(), r.Status) {
		return nil, "", invalid("list of at most %d tasks that are %v, want at least 1 and a status", r.Max, r.Status)
	}
	after := pgtype.UUID{Valid: true} // no task has this ID
	if r.After != "" {
		id, err := uuid.Parse(r.After)
		if err != nil {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
		after.Bytes = id
	}
	args := []any{after, r.Queue, int64(r.Max) + 1}
	var q string
	switch r.Status {
	case omniq.StatusPending:
		q = listPending
	case omniq.StatusRunning:
		q = listRunning
	case omniq.StatusSuccess:
		q = listSucceeded
	default:
		q, args = listUnsuccessful, append(args, int16(r.Status))
	}
	if err := b.settled(ctx); err != nil {
		return nil, "", err
	}
	var page []*omniq.TaskInfo
	more := false
	err := b.read(ctx, stmt{sql: b.sql.of(q), args: args, row: func(row scanner) error {
		if len(page) == r.Max {
			more = true
			return nil
		}
		info, _, err := scanInfo(row)
		page = append(page, info)
		return err
	}})
	if err != nil {
		return nil, "", err
	}
	if !more {
		return page, "", nil
	}
	return page, page[len(page)-1].ID.String(), nil
}

const overdue = "SELECT EXISTS (SELECT FROM {s}.tasks WHERE wake <= {now})"

// settled does what was to happen to tasks by itself, if there is something.
func (b *Backend) settled(ctx context.Context) error {
	var found bool
	err := b.read(ctx, stmt{sql: b.sql.of(overdue), row: func(row scanner) error { return row.Scan(&found) }})
	if err != nil || !found {
		return err
	}
	return b.wakeAll(ctx)
}

const (
	sumCounts = `SELECT queue, state, sum(n)::bigint FROM (
			SELECT queue, state, n FROM {s}.counts
			UNION ALL SELECT queue, status, -count(*) FROM {s}.results WHERE expires <= {now} GROUP BY queue, status) c
		GROUP BY queue, state HAVING sum(n) <> 0`

	// One look for each priority.
	oldestReady = `SELECT q.queue, (extract(epoch FROM {now} - (
			WITH RECURSIVE step (rank, due) AS (
				(SELECT rank, due FROM {s}.tasks WHERE state = 1 AND queue = q.queue ORDER BY rank, due LIMIT 1)
				UNION ALL
				SELECT n.rank, n.due FROM step CROSS JOIN LATERAL (
					SELECT t.rank, t.due FROM {s}.tasks t WHERE state = 1 AND queue = q.queue AND t.rank > step.rank
					ORDER BY t.rank, t.due LIMIT 1) n
			) SELECT min(due) FROM step)) * 1000000)::bigint
		FROM (SELECT queue FROM {s}.counts WHERE state = 1 GROUP BY queue HAVING sum(n) > 0) q`

	pausedQueues = "SELECT queue FROM {s}.paused"
)

// Stats implements [omniq.TaskQueue]. Its time is that of the number of queues and of the priorities in them, and of the
// results whose time was over in the last seconds.
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
		stmt{sql: b.sql.of(sumCounts), row: func(row scanner) error {
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
	case int(state) < len(statusOf):
		engine.Count(s, statusOf[state], n)
	default:
		engine.Count(s, omniq.Status(state), n)
	}
}
