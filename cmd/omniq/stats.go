package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// queueView is what stats tells of a queue.
type queueView struct {
	Queue     string  `json:"queue"`
	Paused    bool    `json:"paused"`
	Waiting   int     `json:"waiting"`
	Ready     int     `json:"ready"`
	Scheduled int     `json:"scheduled"`
	Running   int     `json:"running"`
	Succeeded int     `json:"succeeded"`
	Failed    int     `json:"failed"`
	Cancelled int     `json:"cancelled"`
	Expired   int     `json:"expired"`
	Latency   float64 `json:"latency_seconds"`
	Lanes     int     `json:"lanes"`
	Limit     string  `json:"limit"`

	latency time.Duration
}

func viewQueues(stats []omniq.QueueStats) []queueView {
	views := make([]queueView, len(stats))
	for i, s := range stats {
		views[i] = queueView{
			Queue: s.Queue, Paused: s.Paused, Waiting: s.Waiting, Ready: s.Ready, Scheduled: s.Scheduled, Running: s.Running,
			Succeeded: s.Succeeded, Failed: s.Failed, Cancelled: s.Cancelled, Expired: s.Expired, Latency: seconds(s.Latency),
			Lanes: s.Lanes, Limit: s.Limit.String(), latency: s.Latency,
		}
	}
	return views
}

var statsColumns = []column[queueView]{
	{head: "QUEUE", cell: func(q queueView) string { return q.Queue }},
	{head: "PAUSED", cell: func(q queueView) string { return yes(q.Paused) }, paint: func(queueView) string { return yellow }},
	{head: "READY", cell: func(q queueView) string { return count(q.Ready) }, right: true},
	{head: "LATENCY", cell: func(q queueView) string { return duration(q.latency) }, right: true},
	{head: "SCHEDULED", cell: func(q queueView) string { return count(q.Scheduled) }, right: true},
	{head: "WAITING", cell: func(q queueView) string { return count(q.Waiting) }, right: true},
	{head: "RUNNING", cell: func(q queueView) string { return count(q.Running) }, right: true},
	{head: "SUCCEEDED", cell: func(q queueView) string { return count(q.Succeeded) }, right: true},
	{head: "FAILED", cell: func(q queueView) string { return count(q.Failed) }, right: true, paint: func(queueView) string { return red }},
	{head: "CANCELLED", cell: func(q queueView) string { return count(q.Cancelled) }, right: true},
	{head: "EXPIRED", cell: func(q queueView) string { return count(q.Expired) }, right: true, paint: func(queueView) string { return red }},
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

const noQueues = "no queue has tasks or results"

func (p *program) statsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "stats", Short: "How many tasks of each queue are in which state", Args: cobra.NoArgs,
		Long: `How many tasks of each queue are in which state. LATENCY is how long the ready task has waited that became
due first. The numbers of tasks that have ended are those of the results that are kept.`,
	}
	w := watchFlags(c)
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		return p.watch(ctx, w, func() error {
			stats, err := client.Stats(ctx)
			if err != nil {
				return err
			}
			return list(p, noQueues, statsColumns, all(viewQueues(stats)))
		})
	})
	return c
}

// watched says how often something is looked at.
type watched struct {
	on       bool
	interval time.Duration
}

func watchFlags(c *cobra.Command) *watched {
	w := new(watched)
	c.Flags().BoolVarP(&w.on, "watch", "w", false, "look again and again, until Ctrl-C")
	c.Flags().DurationVar(&w.interval, "interval", 2*time.Second, "how long after one look the next one comes")
	return w
}

// watch looks once, or again and again. On a terminal each look takes the place of the one before, and an engine that has gone is told of
// until it is back: whoever looks on wants to see that, too.
func (p *program) watch(ctx context.Context, w *watched, look func() error) error {
	if !w.on {
		return look()
	}
	if w.interval < 100*time.Millisecond {
		return wrongUsage("--interval is %v, want at least 100ms", w.interval)
	}
	for n := 0; ; n++ {
		if p.terminal.out && p.output == asTable {
			if _, err := fmt.Fprint(p.out, "\x1b[H\x1b[2J"); err != nil {
				return err
			}
		} else if n > 0 && p.output == asTable {
			if _, err := fmt.Fprintln(p.out); err != nil {
				return err
			}
		}
		if err := look(); err != nil {
			if ctx.Err() != nil {
				return nil // Ctrl-C is how it ends
			}
			if n == 0 || !p.terminal.out || p.output != asTable || statusOf(err) != exitFailed {
				return err
			}
			p.tell("%v", err)
		}
		select {
		case <-time.After(w.interval):
		case <-ctx.Done():
			return nil
		}
	}
}
