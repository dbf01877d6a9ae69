package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) queueCommand() *cobra.Command {
	c := &cobra.Command{Use: "queue", Aliases: []string{"queues"}, Short: "Queues: who serves them, pauses and limits"}
	c.AddCommand(
		p.queueListCommand(),
		p.queueSwitchCommand("pause", "Keep the tasks of queues from being started, by any worker, until resume", (*omniq.Client).Pause),
		p.queueSwitchCommand("resume", "End a pause", (*omniq.Client).Resume),
		p.queueLimitCommand(),
	)
	return c
}

// servedView is a queue, and who serves it.
type servedView struct {
	queueView
	Workers int `json:"workers"`
}

var queueColumns = []column[servedView]{
	{head: "QUEUE", cell: func(q servedView) string { return q.Queue }},
	{head: "PAUSED", cell: func(q servedView) string { return yes(q.Paused) }, paint: func(servedView) string { return yellow }},
	{head: "LIMIT", cell: func(q servedView) string { return limitText(q.Limit) }},
	{head: "LANES", cell: func(q servedView) string { return count(q.Lanes) }, right: true},
	{head: "READY", cell: func(q servedView) string { return count(q.Ready) }, right: true},
	{head: "LATENCY", cell: func(q servedView) string { return duration(q.latency) }, right: true},
	{head: "RUNNING", cell: func(q servedView) string { return count(q.Running) }, right: true},
	{head: "WORKERS", cell: workersText, right: true, paint: func(q servedView) string {
		if q.Workers == 0 {
			return red
		}
		return ""
	}},
}

func limitText(limit string) string {
	if limit == "none" {
		return ""
	}
	return limit
}

// workersText says aloud that nobody takes what is there.
func workersText(q servedView) string {
	if q.Workers == 0 && q.Ready > 0 {
		return "NONE"
	}
	return count(q.Workers)
}

func (p *program) queueListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The queues that have tasks, results or a limit, or are paused, and how many workers take tasks from them", Args: cobra.NoArgs,
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
			stats, err := client.Stats(ctx)
			if err != nil {
				return err
			}
			workers, err := client.Workers(ctx)
			if err != nil {
				return err
			}
			var queues []servedView
			for _, v := range viewQueues(stats) {
				queues = append(queues, servedView{v, serving(workers, v.Queue)})
			}
			return list(p, noQueues, queueColumns, all(queues))
		}),
	}
}

// serving is how many workers take tasks from a queue. Each serves the schedules, too, unless it is told not to, which it does not say.
func serving(workers []omniq.WorkerInfo, queue string) int {
	n := 0
	for _, w := range workers {
		if !w.Stopping && (queue == omniq.ScheduleQueue || slices.Contains(w.Queues, queue)) {
			n++
		}
	}
	return n
}

func (p *program) queueSwitchCommand(verb, short string, do func(*omniq.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " QUEUE...", Short: short, Args: cobra.MinimumNArgs(1), ValidArgsFunction: p.queues(),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			for _, queue := range args {
				if err := omniq.CheckQueue(queue); err != nil {
					return err
				}
			}
			for _, queue := range args {
				if err := do(client, ctx, queue); err != nil {
					return err
				}
				p.tell("%sd queue %s", verb, queue)
			}
			return nil
		}),
	}
}

// limitView is the limit of a queue.
type limitView struct {
	Queue string `json:"queue"`
	Limit string `json:"limit"`
}

func (p *program) queueLimitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "limit QUEUE [LIMIT]", Short: "Show or set how many tasks of a queue run at once, and how many are handed out in a time", Args: cobra.MinimumNArgs(1),
		Long: `Show or set how many tasks of a queue run at once, and how many are handed out in a time: on all workers together.

A limit is a number of tasks, a rate, or both, and the same for each lane after the word each. none takes it away.`,
		Example: "  omniq queue limit mail\n  omniq queue limit mail 50 20/s each 2\n  omniq queue limit mail 100/m+10\n  omniq queue limit mail none",
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return []string{"none", "each"}, cobra.ShellCompDirectiveNoFileComp
			}
			return p.queues()(c, args, begun)
		},
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			queue := args[0]
			if len(args) > 1 {
				var limit omniq.Limit
				if err := limit.UnmarshalText([]byte(strings.Join(args[1:], " "))); err != nil {
					return err
				}
				if err := client.SetLimit(ctx, queue, limit); err != nil {
					return err
				}
				p.tell("the limit of queue %s is %v now", queue, limit)
				return nil
			}
			if err := omniq.CheckQueue(queue); err != nil {
				return err
			}
			stats, err := client.Stats(ctx)
			if err != nil {
				return err
			}
			v := limitView{queue, omniq.Limit{}.String()}
			for _, s := range stats {
				if s.Queue == queue {
					v.Limit = s.Limit.String()
				}
			}
			return show(p, v, field{"queue", v.Queue}, field{"limit", v.Limit})
		}),
	}
}
