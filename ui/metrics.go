package ui

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// freshMetrics is how old figures are that are told again: however many scrape, the engine is asked so seldom.
const freshMetrics = 5 * time.Second

// metrics answers with the figures of queues and workers, in the text format of Prometheus. An engine that does not answer is
// omniq_up 0, and no error: else nobody would tell the two apart.
func (h *Handler) metrics(c *call) {
	text, err := h.looks.get(c.ctx, "metrics", freshMetrics, false, func(ctx context.Context) (any, error) { return h.measure(ctx), nil })
	if err != nil {
		c.fail(err)
		return
	}
	c.w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = c.w.Write([]byte(text.(string)))
}

// measure looks at the engine and writes down what it sees.
func (h *Handler) measure(ctx context.Context) string {
	var e exposition
	stats, err := h.client.Stats(ctx)
	var workers []omniq.WorkerInfo
	if err == nil {
		workers, err = h.client.Workers(ctx)
	}
	up := 1.0
	if err != nil {
		h.log.Error("ui: metrics: the engine has failed", logged(err))
		up = 0
	}
	e.head("omniq_up", "Whether the engine answers.")
	e.sample("omniq_up", up)
	if err != nil {
		return e.String()
	}
	e.queues(stats)
	e.workers(workers)
	return e.String()
}

// exposition is metrics as text.
type exposition struct{ strings.Builder }

func (e *exposition) head(name, help string) {
	_, _ = fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// sample writes one figure. Labels are pairs of a name and a value.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	sep := "{"
	for i := 0; i+1 < len(labels); i += 2 {
		_, _ = fmt.Fprintf(e, `%s%s="%s"`, sep, labels[i], labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\ufffd")))
		sep = ","
	}
	if len(labels) > 0 {
		e.WriteByte('}')
	}
	e.WriteByte(' ')
	e.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	e.WriteByte('\n')
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (e *exposition) queues(stats []omniq.QueueStats) {
	e.head("omniq_queue_tasks", "Tasks of a queue by state; those that are final as long as their results are kept.")
	for _, s := range stats {
		for _, state := range []struct {
			name string
			n    int
		}{
			{"waiting", s.Waiting}, {"ready", s.Ready}, {"scheduled", s.Scheduled}, {"running", s.Running}, {"succeeded", s.Succeeded},
			{"failed", s.Failed}, {"cancelled", s.Cancelled}, {"expired", s.Expired},
		} {
			e.sample("omniq_queue_tasks", float64(state.n), "queue", s.Queue, "state", state.name)
		}
	}
	e.head("omniq_queue_latency_seconds", "How long the task of a queue has been ready that became so first.")
	for _, s := range stats {
		e.sample("omniq_queue_latency_seconds", s.Latency.Seconds(), "queue", s.Queue)
	}
	e.head("omniq_queue_paused", "Whether a queue is paused.")
	for _, s := range stats {
		paused := 0.0
		if s.Paused {
			paused = 1
		}
		e.sample("omniq_queue_paused", paused, "queue", s.Queue)
	}
}

func (e *exposition) workers(workers []omniq.WorkerInfo) {
	var concurrency, running int
	for i := range workers {
		concurrency, running = concurrency+workers[i].Concurrency, running+workers[i].Running
	}
	e.head("omniq_workers", "Workers that are there.")
	e.sample("omniq_workers", float64(len(workers)))
	e.head("omniq_worker_concurrency", "How many handlers all workers can run at once.")
	e.sample("omniq_worker_concurrency", float64(concurrency))
	e.head("omniq_worker_running", "How many handlers run in all workers.")
	e.sample("omniq_worker_running", float64(running))
}
