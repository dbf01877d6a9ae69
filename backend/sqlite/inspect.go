package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// The columns of a row that is a task, and of one that is a result, for people to look at.
const (
	taskInfo   = "SELECT seq, id, state, name, queue, since, due, worker, wake, attempt, error, task, NULL FROM omniq_tasks "
	resultInfo = "SELECT seq, id, status, name, queue, since, due, worker, expires, NULL, NULL, task, result FROM omniq_results "
)

// inspect makes what is shown of a row. It is nil for a result whose time is over.
func inspect(v []driver.Value, now int64) (*omniq.TaskInfo, error) {
	info := &omniq.TaskInfo{
		ID: idOf(v[1]), FuncName: text(v[3]), Queue: text(v[4]), Since: moment(v[5]), Due: moment(v[6]), WorkerID: text(v[7]),
	}
	at, ends := v[8].(int64)
	ends = ends && at <= now
	if envelope := text(v[12]); envelope != "" {
		if ends {
			return nil, nil
		}
		r := new(omniq.RawResult)
		if err := decodeResult(info.ID, envelope, r); err != nil {
			return nil, err
		}
		info.Status, info.Attempts, info.Error = r.Status, r.Attempts, r.Error
	} else {
		if ends {
			return nil, errWake
		}
		info.Status, info.Attempts = statusOf[v[2].(int64)], int(v[9].(int64))
		if failure := text(v[10]); failure != "" {
			info.Error = new(omniq.TaskError)
			if err := json.Unmarshal([]byte(failure), info.Error); err != nil {
				return nil, fmt.Errorf("sqlite: the error of task %v: %w", info.ID, err)
			}
		}
	}
	if envelope := text(v[11]); envelope != "" {
		info.Task = new(omniq.RawTask)
		if err := info.Task.UnmarshalJSON([]byte(envelope)); err != nil {
			return nil, fmt.Errorf("sqlite: task %v: %w", info.ID, err)
		}
	}
	return info, nil
}

// Inspect implements [omniq.TaskQueue].
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	var info *omniq.TaskInfo
	err := b.settled(ctx, func(c *conn) error {
		info = nil
		now := time.Now().UnixMicro()
		const q = taskInfo + "WHERE id = ? UNION ALL " + resultInfo + "WHERE id = ?"
		return c.query(q, func(v []driver.Value) (err error) {
			if info == nil {
				info, err = inspect(v, now)
			}
			return err
		}, id[:], id[:])
	})
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, omniq.ErrNotFound
	}
	return info, nil
}

// List implements [omniq.TaskQueue].
func (b *Backend) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if r.Max < 1 || !slices.Contains(omniq.Statuses(), r.Status) {
		return nil, "", invalid("list of at most %d tasks that are %v, want at least 1 and a status", r.Max, r.Status)
	}
	var after int64
	if r.After != "" {
		var err error
		if after, err = strconv.ParseInt(r.After, 10, 64); err != nil || after < 0 {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
	}
	var q strings.Builder
	var args []driver.Value
	now := time.Now().UnixMicro()
	switch r.Status {
	case omniq.StatusPending:
		q.WriteString(taskInfo + "WHERE state IN (0, 1)")
	case omniq.StatusRunning: // each has a lease that will run out, and an index has those
		q.WriteString(taskInfo + "INDEXED BY omniq_tasks_wake WHERE wake IS NOT NULL AND state = 2")
	case omniq.StatusSuccess:
		q.WriteString(resultInfo + "WHERE status = 3 AND (expires IS NULL OR expires > ?)")
		args = append(args, now)
	default: // the index wants to see the condition
		q.WriteString(resultInfo + "WHERE status > 3 AND status = ? AND (expires IS NULL OR expires > ?)")
		args = append(args, int64(r.Status), now)
	}
	q.WriteString(" AND seq > ?")
	args = append(args, after)
	if r.Queue != "" {
		q.WriteString(" AND queue = ?")
		args = append(args, r.Queue)
	}
	q.WriteString(" ORDER BY seq LIMIT ?")
	args = append(args, int64(r.Max)+1)

	var page []*omniq.TaskInfo
	var last int64
	more := false
	err := b.settled(ctx, func(c *conn) error {
		page, more = nil, false
		return c.snapshot(func() error {
			if err := awake(c); err != nil {
				return err
			}
			return c.query(q.String(), func(v []driver.Value) error {
				if len(page) == r.Max {
					more = true
					return nil
				}
				info, err := inspect(v, 0) // awake and the query have looked at the time
				if err != nil {
					return err
				}
				page, last = append(page, info), v[0].(int64)
				return nil
			}, args...)
		})
	})
	if err != nil {
		return nil, "", err
	}
	if !more {
		return page, "", nil
	}
	return page, strconv.FormatInt(last, 10), nil
}

// awake returns errWake if something has happened by itself that is not yet written down.
func awake(c *conn) error {
	wake, err := nextWake(c)
	if err == nil && wake <= time.Now().UnixMicro() {
		return errWake
	}
	return err
}

// Stats implements [omniq.TaskQueue]. Its time is that of the number of queues and of the priorities in them.
func (b *Backend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	var stats []omniq.QueueStats
	err := b.settled(ctx, func(c *conn) error {
		return c.snapshot(func() (err error) {
			if err := awake(c); err != nil {
				return err
			}
			stats, err = readStats(c)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return stats, nil
}

func readStats(c *conn) ([]omniq.QueueStats, error) {
	now := time.Now().UnixMicro()
	queues := make(map[string]*omniq.QueueStats)
	of := func(name string) *omniq.QueueStats {
		if queues[name] == nil {
			queues[name] = &omniq.QueueStats{Queue: name}
		}
		return queues[name]
	}
	counted := func(v []driver.Value) error {
		n := int(v[2].(int64))
		s := of(text(v[0]))
		switch state := v[1].(int64); state {
		case stateScheduled:
			s.Scheduled += n
		case stateReady:
			s.Ready += n
		case stateRunning:
			s.Running += n
		default:
			engine.Count(s, omniq.Status(state), n)
		}
		return nil
	}
	if err := c.query("SELECT queue, state, n FROM omniq_counts", counted); err != nil {
		return nil, err
	}
	// Results whose time is over count until they are removed.
	err := c.query("SELECT queue, status, -count(*) FROM omniq_results WHERE expires <= ? GROUP BY queue, status", counted, now)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(queues, func(name string, s *omniq.QueueStats) bool { return *s == omniq.QueueStats{Queue: name} })
	err = c.query("SELECT queue FROM omniq_paused", func(v []driver.Value) error { of(text(v[0])).Paused = true; return nil })
	if err != nil {
		return nil, err
	}
	stats := make([]omniq.QueueStats, 0, len(queues))
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		s := queues[name]
		if s.Ready > 0 {
			oldest, err := oldestReady(c, name)
			if err != nil {
				return nil, err
			}
			s.Latency = max(0, time.Duration(now-oldest)*time.Microsecond)
		}
		stats = append(stats, *s)
	}
	return stats, nil
}

// oldestReady is since when the ready task of the queue is due that became so first: one look for each priority.
func oldestReady(c *conn, queue string) (int64, error) {
	return one(c, `WITH RECURSIVE step(priority, due) AS (
		SELECT * FROM (SELECT priority, due FROM omniq_tasks WHERE state = 1 AND queue = ?1
			ORDER BY priority DESC, due LIMIT 1)
		UNION ALL
		SELECT t.priority, t.due FROM step JOIN omniq_tasks t ON t.seq = (SELECT seq FROM omniq_tasks
			WHERE state = 1 AND queue = ?1 AND priority < step.priority ORDER BY priority DESC, due LIMIT 1)
	) SELECT min(due) FROM step`, queue)
}
