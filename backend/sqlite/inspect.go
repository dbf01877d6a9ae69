package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// The columns of a row that is a task, and of one that is a result, for people to look at.
const (
	taskInfo   = "id, state, name, queue, since, due, worker, wake, attempt, error, task, NULL, lost, ties"
	resultInfo = "id, status, name, queue, since, due, worker, expires, NULL, NULL, task, result, lost, ties"
)

// tiedInfo is what is shown of a row so far, and what the task has to do with others.
type tiedInfo struct {
	*omniq.TaskInfo
	ties int64
}

// inspect makes what is shown of a row whose columns come after the first one. It is nil for a result whose time is over.
func inspect(v []driver.Value, now int64) (tiedInfo, error) {
	info := &omniq.TaskInfo{
		ID: idOf(v[1]), FuncName: text(v[3]), Queue: text(v[4]), Since: moment(v[5]), Due: moment(v[6]), WorkerID: text(v[7]),
		Lost: int(v[13].(int64)),
	}
	at, ends := v[8].(int64)
	ends = ends && at <= now
	if envelope := text(v[12]); envelope != "" {
		if ends {
			return tiedInfo{}, nil
		}
		r := new(omniq.RawResult)
		if err := decodeResult(info.ID, envelope, r); err != nil { // what else is known is shown all the same
			r.Status, r.Error = omniq.Status(v[2].(int64)), unreadable(err)
		}
		info.Status, info.Attempts, info.Error = r.Status, r.Attempts, r.Error
	} else {
		if ends {
			return tiedInfo{}, errWake
		}
		info.Status, info.Attempts = statusOf[v[2].(int64)], int(v[9].(int64))
		if info.Status == omniq.StatusRunning {
			info.Expires = moment(v[8])
		}
		if failure := text(v[10]); failure != "" {
			info.Error = new(omniq.TaskError)
			if err := json.Unmarshal([]byte(failure), info.Error); err != nil {
				info.Error = unreadable(err)
			}
		}
	}
	if envelope := text(v[11]); envelope != "" {
		info.Task = new(omniq.RawTask)
		if err := info.Task.UnmarshalJSON([]byte(envelope)); err != nil || info.Task.ID != info.ID {
			info.Task = nil // it fails, or has failed, by being unreadable
		} else {
			info.Lane = info.Task.Lane
		}
	}
	return tiedInfo{info, v[14].(int64)}, nil
}

// complete adds what is kept beside the task's row.
func (i *tiedInfo) complete(c *conn) (err error) {
	if i.ties&tieFlow != 0 {
		if i.Flow, err = flowOf(c, i.ID); err != nil {
			return err
		}
	}
	if i.ties&tieEdges != 0 {
		from, to := current(i.ties)
		err := c.query("SELECT dep, need, input FROM omniq_edges WHERE task = ? AND n >= ? AND n < ? ORDER BY n", func(v []driver.Value) error {
			i.After = append(i.After, omniq.Dependency{ID: idOf(v[0]), Need: omniq.Need(v[1].(int64)), Input: v[2] != int64(0)})
			return nil
		}, i.ID[:], from, to)
		if err != nil {
			return err
		}
	}
	if i.ties&tieNotes == 0 {
		return nil
	}
	return c.query("SELECT kind, data FROM omniq_notes WHERE id = ?", func(v []driver.Value) error {
		switch v[0].(int64) {
		case noteProgress:
			i.Progress = omniq.Raw(text(v[1]))
		case noteState:
			i.State = omniq.Raw(text(v[1]))
		}
		return nil
	}, i.ID[:])
}

// unreadable is what is shown in the place of an error or a result that cannot be read.
func unreadable(err error) *omniq.TaskError {
	return &omniq.TaskError{Type: "omniq.Decode", Message: "it cannot be read: " + err.Error()}
}

// Inspect tells what is known of a task: see [omniq.TaskQueue].
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	var info tiedInfo
	err := b.settled(ctx, id, func(c *conn) error {
		return c.snapshot(func() error {
			info = tiedInfo{}
			now := b.config.clock().UnixMicro()
			const q = "SELECT seq, " + taskInfo + " FROM omniq_tasks WHERE id = ? UNION ALL SELECT seq, " + resultInfo + " FROM omniq_results WHERE id = ?"
			err := c.query(q, func(v []driver.Value) (err error) {
				if info.TaskInfo == nil {
					info, err = inspect(v, now)
				}
				return err
			}, id[:], id[:])
			if err != nil || info.TaskInfo == nil {
				return err
			}
			return info.complete(c)
		})
	})
	if err != nil {
		return nil, err
	}
	if info.TaskInfo == nil {
		return nil, omniq.ErrNotFound
	}
	return info.TaskInfo, nil
}

// caughtUp calls look in a transaction that reads, after what has happened by itself is written down, as far as one
// transaction can.
func (b *Backend) caughtUp(ctx context.Context, look func(*conn) error) error {
	first := true
	read := func(c *conn) error {
		return c.snapshot(func() error {
			if wake, err := nextWake(c); err != nil {
				return err
			} else if first && wake <= b.config.clock().UnixMicro() {
				return errWake
			}
			return look(c)
		})
	}
	err := b.read(ctx, read)
	if !errors.Is(err, errWake) {
		return err
	}
	first = false
	if err := b.write(ctx, func(t *tx) error { return t.advance() }); err != nil {
		return err
	}
	return b.read(ctx, read)
}

// Stats returns figures of each queue: see [omniq.TaskQueue]. Its time is that of the number of queues and of the priorities
// in them. Where more happens by itself at one moment than one transaction can write down, it shows what has been written
// down so far; so does List.
func (b *Backend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	var stats []omniq.QueueStats
	wrong := false
	err := b.caughtUp(ctx, func(c *conn) (err error) {
		stats, wrong, err = readStats(c, b.config.clock().UnixMicro())
		return err
	})
	if err != nil {
		return nil, err
	}
	if wrong {
		b.recount()
	}
	return stats, nil
}

// readStats also reports that the counts cannot be right.
func readStats(c *conn, now int64) (stats []omniq.QueueStats, wrong bool, err error) {
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
		return nil, false, err
	}
	// Results whose time is over count until they are removed, which is soon: no more than one call may look at.
	err = c.query(`SELECT queue, status, -count(*) FROM
		(SELECT queue, status FROM omniq_results WHERE expires <= ? ORDER BY expires LIMIT ?) GROUP BY queue, status`,
		counted, now, int64(omniq.MaxListed))
	if err != nil {
		return nil, false, err
	}
	for _, s := range queues {
		for _, n := range []*int{&s.Waiting, &s.Scheduled, &s.Ready, &s.Running, &s.Succeeded, &s.Failed, &s.Cancelled, &s.Expired} {
			wrong = wrong || *n < 0
			*n = max(*n, 0)
		}
	}
	maps.DeleteFunc(queues, func(name string, s *omniq.QueueStats) bool { return *s == omniq.QueueStats{Queue: name} })
	err = c.query("SELECT queue FROM omniq_paused", func(v []driver.Value) error { of(text(v[0])).Paused = true; return nil })
	if err != nil {
		return nil, false, err
	}
	if err := readBounds(c, of); err != nil {
		return nil, false, err
	}
	stats = make([]omniq.QueueStats, 0, len(queues))
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		s := queues[name]
		if s.Ready > 0 {
			oldest, err := oldestReady(c, name)
			if err != nil {
				return nil, false, err
			}
			if oldest == 0 {
				wrong, oldest = true, now
			}
			s.Latency = max(0, time.Duration(now-oldest)*time.Microsecond)
		}
		stats = append(stats, *s)
	}
	return stats, wrong, nil
}

// readBounds reads the limits of queues, and counts their lanes.
func readBounds(c *conn, of func(queue string) *omniq.QueueStats) error {
	err := c.query("SELECT queue, bounds FROM omniq_limits", func(v []driver.Value) error {
		_ = of(text(v[0])).Limit.UnmarshalText([]byte(text(v[1]))) // if SQL has written something else, it bounds nothing
		return nil
	})
	if err != nil {
		return err
	}
	return c.query("SELECT queue, count(*) FROM omniq_lanes WHERE lane <> '' AND ready + running > 0 GROUP BY queue",
		func(v []driver.Value) error { of(text(v[0])).Lanes = int(v[1].(int64)); return nil })
}

// oldestReady is since when the ready task of the queue is due that became so first: one look for each priority.
func oldestReady(c *conn, queue string) (int64, error) {
	return one(c, `WITH RECURSIVE step(priority, due) AS (
		SELECT * FROM (SELECT priority, due FROM omniq_tasks WHERE state = 1 AND lane IS NULL AND queue = ?1
			ORDER BY priority DESC, due LIMIT 1)
		UNION ALL
		SELECT t.priority, t.due FROM step JOIN omniq_tasks t ON t.seq = (SELECT seq FROM omniq_tasks
			WHERE state = 1 AND lane IS NULL AND queue = ?1 AND priority < step.priority ORDER BY priority DESC, due LIMIT 1)
	), laned(lane, priority, due) AS (
		SELECT l.lane, t.priority, t.due FROM omniq_lanes l JOIN omniq_tasks t ON t.seq = (SELECT seq FROM omniq_tasks
			WHERE state = 1 AND queue = ?1 AND lane = l.lane ORDER BY priority DESC, due LIMIT 1)
			WHERE l.queue = ?1 AND l.lane <> '' AND l.ready > 0
		UNION ALL
		SELECT laned.lane, t.priority, t.due FROM laned JOIN omniq_tasks t ON t.seq = (SELECT seq FROM omniq_tasks
			WHERE state = 1 AND queue = ?1 AND lane = laned.lane AND priority < laned.priority
			ORDER BY priority DESC, due LIMIT 1)
	) SELECT min(due) FROM (SELECT due FROM step UNION ALL SELECT due FROM laned)`, queue)
}
