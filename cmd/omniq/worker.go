package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) workerCommand() *cobra.Command {
	c := &cobra.Command{Use: "worker", Aliases: []string{"workers"}, Short: "Workers: which there are, and how busy they are"}
	var host, queue string
	l := &cobra.Command{
		Use: "list", Short: "The workers that run, in all processes", Args: cobra.NoArgs,
		Long: `The workers that run, in all processes. One that stops is gone at once; one whose process died is gone when it
was silent for its lease. RUNNING is how many handlers run, of how many may.`,
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
			workers, err := client.Workers(ctx)
			if err != nil {
				return err
			}
			views := make([]workerView, 0, len(workers))
			for _, w := range workers {
				if host != "" && w.Host != host || queue != "" && !slices.Contains(w.Queues, queue) {
					continue
				}
				views = append(views, workerView{
					WorkerID: w.ID, Host: w.Host, PID: w.PID, Version: w.Version, Queues: w.Queues, Names: w.Names, Concurrency: w.Concurrency,
					Running: w.Running, Stopping: w.Stopping, Started: instant{w.Started}, Seen: instant{w.Seen}, Lease: seconds(w.Lease),
				})
			}
			return list(p, "no worker is there", workerColumns, all(views))
		}),
	}
	l.Flags().StringVar(&host, "host", "", "workers on this `host`")
	l.Flags().StringVar(&queue, "queue", "", "workers that take tasks from this `queue`")
	p.completeQueues(l, "queue")
	c.AddCommand(l)
	return c
}

type workerView struct {
	WorkerID    string   `json:"worker_id"`
	Host        string   `json:"host"`
	PID         int      `json:"pid"`
	Version     string   `json:"version"`
	Queues      []string `json:"queues"`
	Names       []string `json:"func_names"`
	Concurrency int      `json:"concurrency"`
	Running     int      `json:"running"`
	Stopping    bool     `json:"stopping"`
	Started     instant  `json:"started"`
	Seen        instant  `json:"seen"`
	Lease       float64  `json:"lease_seconds"`
}

var workerColumns = []column[workerView]{
	{head: "WORKER", cell: func(w workerView) string { return w.WorkerID }},
	{head: "HOST", cell: func(w workerView) string { return w.Host }},
	{head: "PID", cell: func(w workerView) string { return strconv.Itoa(w.PID) }, right: true},
	{head: "VERSION", cell: func(w workerView) string { return w.Version }},
	{head: "QUEUES", cell: func(w workerView) string { return strings.Join(w.Queues, ",") }},
	{head: "RUNNING", cell: func(w workerView) string { return fmt.Sprintf("%d/%d", w.Running, w.Concurrency) }, right: true},
	{head: "STARTED", cell: func(w workerView) string { return w.Started.String() }},
	{head: "SEEN", cell: func(w workerView) string { return w.Seen.String() }},
	{head: "STOPPING", cell: func(w workerView) string { return yes(w.Stopping) }, paint: func(workerView) string { return yellow }},
}
