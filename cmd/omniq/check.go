package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// condition is one that is checked.
type condition struct {
	Check string  `json:"check"`
	Queue string  `json:"queue,omitempty"` // empty for all together
	Value float64 `json:"value"`           // seconds, or how many
	Want  float64 `json:"want"`            // at the most, or for workers at the least
	OK    bool    `json:"ok"`

	text string // what is wrong
}

func (p *program) checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "Check that all is well, for probes and monitoring: the exit status is 3 if it is not", Args: cobra.NoArgs,
		Long: `Check that all is well, for probes and monitoring. Without flags it is checked that the engine answers.

The exit status is 0 if all holds, 3 if something does not, and 1 if the engine does not answer. The first line says
what is wrong. Without --queue, each queue that there is is checked.`,
		Example: "  omniq check --max-latency 5m --served\n  omniq check --queue mail --max-ready 10000 --max-failed 10 --within 15m",
	}
	flags := c.Flags()
	queues := flags.StringSlice("queue", nil, "check this `queue` alone; several are separated by commas")
	latency := flags.Duration("max-latency", 0, "no ready task has waited longer")
	ready := flags.Int("max-ready", 0, "no queue has more ready tasks")
	failed := flags.Int("max-failed", 0, "no more tasks failed for good --within the last minutes, in each queue")
	within := flags.Duration("within", 10*time.Minute, "the time of --max-failed, at most a day")
	workers := flags.Int("min-workers", 0, "there are so many workers that do not stop; with --queue, for each queue")
	served := flags.Bool("served", false, "each queue with ready tasks has a worker that takes them")
	running := flags.Bool("not-paused", false, "no queue is paused")
	p.completeQueues(c, "queue")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		if flags.Changed("queue") && len(*queues) == 0 { // a variable of a script that is not set must not make all well
			return wrongUsage("--queue is empty, so that nothing would be checked")
		}
		for _, queue := range *queues {
			if err := omniq.CheckQueue(queue); err != nil {
				return err
			}
		}
		stats, err := client.Stats(ctx)
		if err != nil {
			return err
		}
		if *queues != nil {
			stats = chosenQueues(stats, *queues)
		}
		var there []omniq.WorkerInfo
		if *served || flags.Changed("min-workers") {
			if there, err = client.Workers(ctx); err != nil {
				return err
			}
			there = slices.DeleteFunc(there, func(w omniq.WorkerInfo) bool { return w.Stopping })
		}
		failures := make(map[string]int)
		if flags.Changed("max-failed") {
			minutes, err := client.History(ctx, *within)
			if err != nil {
				return err
			}
			for _, m := range minutes {
				failures[m.Queue] += m.Failed
			}
		}
		conditions := []condition{{Check: "engine", Value: 1, Want: 1, OK: true}}
		add := func(check, queue string, value, want float64, ok bool, format string, args ...any) {
			conditions = append(conditions, condition{check, queue, value, want, ok, fmt.Sprintf(format, args...)})
		}
		for _, s := range stats {
			if flags.Changed("max-latency") {
				add("max-latency", s.Queue, seconds(s.Latency), seconds(*latency), s.Latency <= *latency,
					"queue %s has a task that has waited for %s, want at most %v", s.Queue, duration(s.Latency), *latency)
			}
			if flags.Changed("max-ready") {
				add("max-ready", s.Queue, float64(s.Ready), float64(*ready), s.Ready <= *ready,
					"queue %s has %s ready, want at most %d", s.Queue, plural(s.Ready, "task"), *ready)
			}
			if *served && s.Ready > 0 {
				n := serving(there, s.Queue)
				add("served", s.Queue, float64(n), 1, n > 0, "queue %s has %s ready, and no worker", s.Queue, plural(s.Ready, "task"))
			}
			if *running {
				paused := 0.0
				if s.Paused {
					paused = 1
				}
				add("not-paused", s.Queue, paused, 0, !s.Paused, "queue %s is paused", s.Queue)
			}
			if *queues != nil && flags.Changed("min-workers") {
				n := serving(there, s.Queue)
				add("min-workers", s.Queue, float64(n), float64(*workers), n >= *workers,
					"queue %s has %s, want at least %d", s.Queue, plural(n, "worker"), *workers)
			}
		}
		if *queues == nil && flags.Changed("min-workers") {
			add("min-workers", "", float64(len(there)), float64(*workers), len(there) >= *workers,
				"%s, want at least %d", plural(len(there), "worker"), *workers)
		}
		if flags.Changed("max-failed") {
			for _, queue := range failedQueues(failures, *queues) {
				n := failures[queue]
				add("max-failed", queue, float64(n), float64(*failed), n <= *failed,
					"queue %s has %s failed in the last %v, want at most %d", queue, plural(n, "task"), *within, *failed)
			}
		}
		return p.judge(conditions)
	})
	return c
}

// chosenQueues are figures of the named queues, also of those that have none.
func chosenQueues(stats []omniq.QueueStats, names []string) []omniq.QueueStats {
	chosen := make([]omniq.QueueStats, len(names))
	for i, name := range names {
		chosen[i].Queue = name
		if at := slices.IndexFunc(stats, func(s omniq.QueueStats) bool { return s.Queue == name }); at >= 0 {
			chosen[i] = stats[at]
		}
	}
	return chosen
}

// failedQueues are those that are chosen, or all in which something has failed.
func failedQueues(failures map[string]int, chosen []string) []string {
	if chosen != nil {
		return chosen
	}
	var names []string
	for name := range failures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// judge tells what holds and what does not.
func (p *program) judge(conditions []condition) error {
	var wrong []string
	for _, c := range conditions {
		if !c.OK {
			wrong = append(wrong, c.text)
		}
	}
	var err error
	switch {
	case p.output != asTable:
		err = list(p, "", nil, all(conditions))
	case wrong == nil:
		_, err = fmt.Fprintln(p.out, "OK: "+strconv.Itoa(len(conditions))+" checked")
	default:
		_, err = fmt.Fprintln(p.out, printable("FAILED: "+strings.Join(wrong, "; ")))
	}
	if err == nil && wrong != nil {
		err = &failure{status: exitNot}
	}
	return err
}
