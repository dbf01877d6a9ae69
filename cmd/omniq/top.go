package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// topView is one look at all that goes on.
type topView struct {
	Queues      int            `json:"queues"`
	Paused      int            `json:"paused"`
	Ready       int            `json:"ready"`
	Running     int            `json:"running"`
	Latency     float64        `json:"latency_seconds"`
	Workers     int            `json:"workers"`
	Concurrency int            `json:"concurrency"`
	Last        float64        `json:"last_seconds"`
	Functions   []functionView `json:"functions"`
}

// functionView is what was done with the tasks of a queue that call one function.
type functionView struct {
	Queue     string  `json:"queue"`
	FuncName  string  `json:"func_name"`
	Enqueued  int     `json:"enqueued"`
	Started   int     `json:"started"`
	Succeeded int     `json:"succeeded"`
	Failed    int     `json:"failed"`
	Retried   int     `json:"retried"`
	Cancelled int     `json:"cancelled"`
	Expired   int     `json:"expired"`
	Wait      float64 `json:"wait_seconds"` // in the mean
	Run       float64 `json:"run_seconds"`  // together

	wait, run time.Duration
}

var functionColumns = []column[functionView]{
	{head: "QUEUE", cell: func(f functionView) string { return f.Queue }},
	{head: "NAME", cell: func(f functionView) string { return f.FuncName }},
	{head: "ENQUEUED", cell: func(f functionView) string { return count(f.Enqueued) }, right: true},
	{head: "STARTED", cell: func(f functionView) string { return count(f.Started) }, right: true},
	{head: "SUCCEEDED", cell: func(f functionView) string { return count(f.Succeeded) }, right: true},
	{head: "RETRIED", cell: func(f functionView) string { return count(f.Retried) }, right: true},
	{head: "FAILED", cell: func(f functionView) string { return count(f.Failed) }, right: true, paint: func(functionView) string { return red }},
	{head: "WAIT", cell: func(f functionView) string { return duration(f.wait) }, right: true},
	{head: "RUN", cell: func(f functionView) string { return duration(f.run) }, right: true},
}

func (p *program) topCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "top", Short: "What goes on now: the busiest functions of the last minutes, and how busy the workers are", Args: cobra.NoArgs,
		Long: `What goes on now: the busiest functions of the last minutes, and how busy the workers are. On a terminal it is
looked at again and again, until Ctrl-C; else once, unless --watch says otherwise.

WAIT is how long tasks had been due when they started, in the mean. RUN is how long handlers ran, together.`,
	}
	w := watchFlags(c)
	last := c.Flags().Duration("last", 5*time.Minute, "how long back, at most a day")
	most := maxFlag(c, 20, "how many functions")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		w.on = w.on || p.terminal.out && p.output == asTable && !c.Flags().Changed("watch")
		return p.watch(ctx, w, func() error {
			view, err := look(ctx, client, *last)
			if err != nil {
				return err
			}
			if *most > 0 {
				view.Functions = view.Functions[:min(*most, len(view.Functions))]
			}
			if p.output != asTable {
				return document(p, view)
			}
			if err := view.summary(p, *last); err != nil {
				return err
			}
			return list(p, fmt.Sprintf("nothing was done in the last %v", *last), functionColumns, all(view.Functions))
		})
	})
	return c
}

// look asks the engine for all that top tells.
func look(ctx context.Context, client *omniq.Client, last time.Duration) (*topView, error) {
	stats, err := client.Stats(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := client.Workers(ctx)
	if err != nil {
		return nil, err
	}
	minutes, err := client.History(ctx, last)
	if err != nil {
		return nil, err
	}
	v := &topView{Queues: len(stats), Workers: len(workers), Last: seconds(last), Functions: busiest(minutes)}
	for _, s := range stats {
		v.Ready += s.Ready
		v.Running += s.Running
		v.Latency = max(v.Latency, seconds(s.Latency))
		if s.Paused {
			v.Paused++
		}
	}
	for _, w := range workers {
		v.Concurrency += w.Concurrency
	}
	return v, nil
}

// summary is what stands above the functions.
func (v *topView) summary(p *program, last time.Duration) error {
	oldest := ""
	if v.Latency > 0 {
		oldest = ", the oldest for " + duration(time.Duration(v.Latency*float64(time.Second)))
	}
	_, err := fmt.Fprintf(p.out, "%s, %d paused. %s ready%s, %d running. %s for %s at once. The last %v:\n\n",
		plural(v.Queues, "queue"), v.Paused, plural(v.Ready, "task"), oldest, v.Running, plural(v.Workers, "worker"),
		plural(v.Concurrency, "task"), last)
	return err
}

// busiest adds up the minutes, and puts what handlers have spent most of their time with first.
func busiest(minutes []omniq.Minute) []functionView {
	at := make(map[[2]string]*functionView)
	for _, m := range minutes {
		key := [2]string{m.Queue, m.FuncName}
		f := at[key]
		if f == nil {
			f = &functionView{Queue: m.Queue, FuncName: m.FuncName}
			at[key] = f
		}
		f.Enqueued += m.Enqueued
		f.Started += m.Started
		f.Succeeded += m.Succeeded
		f.Failed += m.Failed
		f.Retried += m.Retried
		f.Cancelled += m.Cancelled
		f.Expired += m.Expired
		f.wait += m.Wait
		f.run += m.Run
	}
	list := make([]functionView, 0, len(at))
	for _, f := range at {
		f.wait /= time.Duration(max(f.Started, 1))
		f.Wait, f.Run = seconds(f.wait), seconds(f.run)
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b functionView) int {
		return cmp.Or(cmp.Compare(b.run, a.run), cmp.Compare(b.Enqueued, a.Enqueued), cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.FuncName, b.FuncName))
	})
	return list
}
