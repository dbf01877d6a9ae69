package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) flowCommand() *cobra.Command {
	c := &cobra.Command{Use: "flow", Aliases: []string{"flows"}, Short: "Flows: tasks that were stored as one graph"}
	c.AddCommand(p.flowListCommand(), p.flowGetCommand(), p.flowCancelCommand(), p.flowRetryCommand())
	return c
}

// flowView is what is known of a flow.
type flowView struct {
	Flow      uuid.UUID    `json:"flow"`
	Status    omniq.Status `json:"status"`
	Waiting   int          `json:"waiting"`
	Pending   int          `json:"pending"`
	Running   int          `json:"running"`
	Succeeded int          `json:"succeeded"`
	Failed    int          `json:"failed"`
	Cancelled int          `json:"cancelled"`
	Expired   int          `json:"expired"`
	Tasks     []taskView   `json:"tasks,omitempty"`
}

func viewFlow(id uuid.UUID, s *omniq.FlowStats) flowView {
	return flowView{
		Flow: id, Status: s.Status(), Waiting: s.Waiting, Pending: s.Pending, Running: s.Running, Succeeded: s.Succeeded,
		Failed: s.Failed, Cancelled: s.Cancelled, Expired: s.Expired,
	}
}

var flowColumns = []column[flowView]{
	{head: "FLOW", cell: func(f flowView) string { return f.Flow.String() }},
	{head: "STATUS", cell: func(f flowView) string { return f.Status.String() }, paint: func(f flowView) string { return colourOf(f.Status) }},
	{head: "WAITING", cell: func(f flowView) string { return count(f.Waiting) }, right: true},
	{head: "PENDING", cell: func(f flowView) string { return count(f.Pending) }, right: true},
	{head: "RUNNING", cell: func(f flowView) string { return count(f.Running) }, right: true},
	{head: "SUCCEEDED", cell: func(f flowView) string { return count(f.Succeeded) }, right: true},
	{head: "FAILED", cell: func(f flowView) string { return count(f.Failed) }, right: true},
	{head: "CANCELLED", cell: func(f flowView) string { return count(f.Cancelled) }, right: true},
	{head: "EXPIRED", cell: func(f flowView) string { return count(f.Expired) }, right: true},
}

func (p *program) flowListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "The flows to which the newest tasks belong of which the flags say so", Args: cobra.NoArgs,
		Long: `The flows to which the newest tasks belong of which the flags say so: state by state, until there are so many of them, or
all tasks were looked at.`,
		Example: "  omniq flow list --status failure\n  omniq flow list --status running,waiting --queue mail",
	}
	q := p.queryFlags(c, false)
	most := maxFlag(c, 50, "how many")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		query, err := q.read(ctx, client, omniq.Statuses())
		if err != nil {
			return err
		}
		shown := 0
		counted := func(yield func(flowView, error) bool) {
			for f, err := range first(flows(ctx, client, query, 0), *most) {
				shown++
				if !yield(f, err) {
					return
				}
			}
		}
		err = list(p, "no flows "+q.String(), flowColumns, counted)
		if err == nil && shown > 0 && shown == *most {
			p.tell("there may be more: %s shown; --max 0 shows all", plural(shown, "flow"))
		}
		return err
	})
	return c
}

// flows yields the flows of the tasks that a query means, each once. In each state it looks at so many of the newest, or at all for zero.
func flows(ctx context.Context, client *omniq.Client, query omniq.Query, most int) func(yield func(flowView, error) bool) {
	return func(yield func(flowView, error) bool) {
		seen := map[uuid.UUID]bool{uuid.Nil: true}
		for _, status := range query.Statuses {
			one, looked := query, 0
			one.Statuses = []omniq.Status{status}
			for info, err := range client.Search(ctx, one) {
				if err != nil {
					yield(flowView{}, err)
					return
				}
				if !seen[info.Flow] {
					seen[info.Flow] = true
					stats, err := client.Flow(info.Flow).Stats(ctx)
					if errors.Is(err, omniq.ErrNotFound) { // meanwhile
						continue
					}
					if !yield(viewFlow(info.Flow, &stats), err) || err != nil {
						return
					}
				}
				if looked++; looked == most {
					break
				}
			}
		}
	}
}

func (p *program) flowGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "A flow: how many of its tasks are in which state, and the tasks", Args: cobra.ExactArgs(1), ValidArgsFunction: p.flowIDs(),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			flow, stats, err := getFlow(ctx, client, args[0])
			if err != nil {
				return err
			}
			view := viewFlow(flow.ID(), &stats)
			if p.output != asTable {
				for task, err := range views(flow.Tasks(ctx)) {
					if err != nil {
						return err
					}
					view.Tasks = append(view.Tasks, task)
				}
				return document(p, view)
			}
			if err := list(p, "", flowColumns, all([]flowView{view})); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(p.out); err != nil {
				return err
			}
			return list(p, "", append(slices.Clone(taskColumns), column[taskView]{head: "AFTER", cell: afterText}), views(flow.Tasks(ctx)))
		}),
	}
}

// afterText is what a task waits for, or has waited for.
func afterText(t taskView) string {
	var ids []string
	for _, d := range t.After {
		ids = append(ids, d.ID.String())
	}
	return strings.Join(ids, " ")
}

func getFlow(ctx context.Context, client *omniq.Client, text string) (omniq.Flow, omniq.FlowStats, error) {
	id, err := readID(text)
	if err != nil {
		return omniq.Flow{}, omniq.FlowStats{}, err
	}
	flow := client.Flow(id)
	stats, err := flow.Stats(ctx)
	return flow, stats, err
}

func (p *program) flowCancelCommand() *cobra.Command {
	var s sure
	c := &cobra.Command{
		Use: "cancel ID", Short: "End the tasks of a flow that have not ended", Args: cobra.ExactArgs(1), ValidArgsFunction: p.flowIDs(),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			flow, stats, err := getFlow(ctx, client, args[0])
			if err != nil {
				return err
			}
			b := &bulk{verb: "cancel", done: "cancelled"}
			if s.dry {
				return b.tell(p, &report{DryRun: true, Tasks: stats.Open()}, nil)
			}
			if err := p.confirm(ctx, &s, fmt.Sprintf("cancel %s of flow %v", plural(stats.Open(), "task"), flow.ID())); err != nil {
				return err
			}
			n, err := flow.Cancel(ctx)
			return b.tell(p, &report{Tasks: n}, err)
		}),
	}
	s.flags(c)
	return c
}

func (p *program) flowRetryCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "retry ID", Short: "Let a flow go on where it has stopped", Args: cobra.ExactArgs(1), ValidArgsFunction: p.flowIDs(),
		Long: `Let a flow go on where it has stopped: each of its tasks is enqueued again that has ended without success. Those
that have succeeded are not run again.`,
	}
	failed := c.Flags().Bool("failed", false, "those alone that failed or have expired, not those that were cancelled")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		id, err := readID(args[0])
		if err != nil {
			return err
		}
		retry := client.Flow(id).Requeue
		if *failed {
			retry = client.Flow(id).RequeueFailed
		}
		n, err := retry(ctx)
		b, r := &bulk{verb: "requeue", done: "requeued"}, &report{Tasks: n}
		return b.tell(p, r, r.take(err))
	})
	return c
}
