package ui

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// How far back queues are shown.
const (
	shownHistory = time.Hour
	shownMinutes = int(shownHistory / time.Minute)
)

// queueRow is a queue as it is listed.
type queueRow struct {
	omniq.QueueStats
	Takers int       // workers that take its tasks
	Done   doneHours // in the last hour
	Kept   bool      // it has tasks, results or a limit, or is paused; else it was only used of late
}

// Stuck reports whether tasks wait that no worker takes.
func (q *queueRow) Stuck() bool { return q.Takers == 0 && q.Ready > 0 }

// doneHours is what was done with the tasks of a queue, or of a function.
type doneHours struct {
	Name      string
	Sum       omniq.Minute
	succeeded [shownMinutes]int
	failed    [shownMinutes]int
}

// add counts a minute.
func (d *doneHours) add(m *omniq.Minute, last time.Time) {
	s := &d.Sum
	s.Enqueued, s.Started, s.Succeeded, s.Failed = s.Enqueued+m.Enqueued, s.Started+m.Started, s.Succeeded+m.Succeeded, s.Failed+m.Failed
	s.Retried, s.Cancelled, s.Expired = s.Retried+m.Retried, s.Cancelled+m.Cancelled, s.Expired+m.Expired
	s.Wait, s.Run = s.Wait+m.Wait, s.Run+m.Run
	if i := shownMinutes - 1 - int(last.Sub(m.Start)/time.Minute); i >= 0 && i < shownMinutes {
		d.succeeded[i] += m.Succeeded
		d.failed[i] += m.Failed + m.Expired
	}
}

// Wait is how long tasks had been due on average when they started.
func (d *doneHours) Wait() time.Duration { return d.Sum.Wait / time.Duration(max(d.Sum.Started, 1)) }

// Run is how long a handler ran on average.
func (d *doneHours) Run() time.Duration {
	return d.Sum.Run / time.Duration(max(d.Sum.Succeeded+d.Sum.Failed+d.Sum.Retried, 1))
}

// Spark draws the last hour.
func (d *doneHours) Spark() template.HTML { return spark(d.succeeded[:], d.failed[:]) }

// workers is a look that several pages share.
func (c *call) workers() ([]omniq.WorkerInfo, error) { return see(c, "workers", c.h.client.Workers) }

// lately is what there is to know of queues and functions that have no tasks now.
type lately struct {
	workers []omniq.WorkerInfo
	minutes []omniq.Minute // of the last hour
}

func (c *call) lately() (l lately, err error) {
	if l.workers, err = c.workers(); err != nil {
		return l, err
	}
	l.minutes, err = see(c, "history", func(ctx context.Context) ([]omniq.Minute, error) { return c.h.client.History(ctx, shownHistory) })
	return l, err
}

// calls reports whether a worker has a function of this name, or it was called of late.
func (l *lately) calls(name string) bool {
	return slices.ContainsFunc(l.workers, func(w omniq.WorkerInfo) bool { return slices.Contains(w.Names, name) }) ||
		slices.ContainsFunc(l.minutes, func(m omniq.Minute) bool { return m.FuncName == name })
}

// doneBy sums up what was done by what a key says of a minute.
func doneBy(minutes []omniq.Minute, key func(*omniq.Minute) (string, bool)) map[string]*doneHours {
	last := time.Now().UTC().Truncate(time.Minute)
	for i := range minutes { // by the engine's clock, which may go before this one
		if minutes[i].Start.After(last) {
			last = minutes[i].Start
		}
	}
	all := make(map[string]*doneHours)
	for i := range minutes {
		name, ok := key(&minutes[i])
		if !ok {
			continue
		}
		if all[name] == nil {
			all[name] = &doneHours{Name: name}
		}
		all[name].add(&minutes[i], last)
	}
	return all
}

// rows are all the queues that are known: those with tasks, those that were used of late, and those that a worker takes.
func (l *lately) rows(stats []omniq.QueueStats) []*queueRow {
	rows := make(map[string]*queueRow)
	row := func(name string) *queueRow {
		if rows[name] == nil {
			rows[name] = &queueRow{QueueStats: omniq.QueueStats{Queue: name}}
		}
		return rows[name]
	}
	for _, s := range stats {
		r := row(s.Queue)
		r.QueueStats, r.Kept = s, true
	}
	for name, done := range doneBy(l.minutes, func(m *omniq.Minute) (string, bool) { return m.Queue, m.Queue != "" }) {
		row(name).Done = *done
	}
	for i := range l.workers {
		for _, name := range l.workers[i].Queues {
			row(name).Takers++
		}
	}
	for _, r := range rows {
		if r.Queue == omniq.ScheduleQueue { // workers serve it without taking it
			r.Takers = max(r.Takers, len(l.workers))
		}
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b *queueRow) int { return strings.Compare(a.Queue, b.Queue) })
}

// rows are the queues, and what they were made of.
func (c *call) rows() ([]*queueRow, lately, error) {
	stats, err := see(c, "stats", c.h.client.Stats)
	if err != nil {
		return nil, lately{}, err
	}
	l, err := c.lately()
	return l.rows(stats), l, err
}

func (h *Handler) queues(c *call) (page, error) {
	rows, l, err := c.rows()
	if err != nil {
		return page{}, err
	}
	var sum omniq.QueueStats
	for _, r := range rows {
		if r.Queue == omniq.ScheduleQueue {
			continue
		}
		sum.Ready, sum.Running, sum.Scheduled = sum.Ready+r.Ready, sum.Running+r.Running, sum.Scheduled+r.Scheduled
		sum.Failed, sum.Waiting, sum.Succeeded = sum.Failed+r.Failed, sum.Waiting+r.Waiting, sum.Succeeded+r.Succeeded
		sum.Latency = max(sum.Latency, r.Latency)
	}
	return page{name: "queues", Title: "Queues", Data: map[string]any{"Rows": rows, "Sum": sum, "Workers": len(l.workers), "Tables": h.tables(c)}}, nil
}

// tables are what is said of the engine's tables.
type tables struct {
	Text  string // empty for nothing
	Wrong bool
}

// tables tells which tables the engine has. Who asks gets an answer in any case: the page has more to say than this.
func (h *Handler) tables(c *call) tables {
	if h.schema == nil {
		return tables{}
	}
	v, err := h.looks.get(c.ctx, "schema", time.Minute, c.live, func(ctx context.Context) (any, error) { return h.schema(ctx) })
	if err != nil {
		return tables{"Which tables the engine has cannot be told: " + h.said(c, err), true}
	}
	switch s := v.(omniq.Schema); s.Version {
	case 0:
		return tables{}
	case s.Newest:
		return tables{fmt.Sprintf("The engine’s tables have version %d, as this program wants.", s.Version), false}
	default:
		return tables{fmt.Sprintf("The engine’s tables have version %d, and this program wants %d.", s.Version, s.Newest), true}
	}
}

func (h *Handler) queue(c *call) (page, error) {
	name, err := c.name("queue")
	if err != nil {
		return page{}, err
	}
	rows, l, err := c.rows()
	if err != nil {
		return page{}, err
	}
	row := &queueRow{QueueStats: omniq.QueueStats{Queue: name}}
	for _, r := range rows {
		if r.Queue == name {
			row = r
		}
	}
	done := doneBy(l.minutes, func(m *omniq.Minute) (string, bool) { return m.FuncName, m.Queue == name })
	functions := slices.SortedFunc(maps.Values(done), func(a, b *doneHours) int {
		return cmp.Or(cmp.Compare(b.Sum.Started, a.Sum.Started), strings.Compare(a.Name, b.Name))
	})
	return page{name: "queue", Title: "Queue " + name, Data: map[string]any{"Row": row, "Functions": functions, "Typed": c.form.Get("limit")}}, nil
}

func (h *Handler) pauseQueue(c *call) (string, error) { return h.onQueue(c, "paused", h.client.Pause) }

func (h *Handler) resumeQueue(c *call) (string, error) {
	return h.onQueue(c, "resumed", h.client.Resume)
}

// onQueue does something with the queue that a form names.
func (h *Handler) onQueue(c *call, done string, do func(context.Context, string) error) (string, error) {
	name, err := c.name("queue")
	if err == nil {
		err = do(c.ctx, name)
	}
	return address("queue", "of", name, "done", done), err
}

func (h *Handler) limitQueue(c *call) (string, error) {
	text, err := c.text("limit")
	if err != nil {
		return "", err
	}
	var limit omniq.Limit
	if strings.TrimSpace(text) != "" {
		if err := limit.UnmarshalText([]byte(text)); err != nil {
			return "", err
		}
	}
	return h.onQueue(c, "limited", func(ctx context.Context, name string) error { return h.client.SetLimit(ctx, name, limit) })
}
