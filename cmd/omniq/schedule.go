package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) scheduleCommand() *cobra.Command {
	c := &cobra.Command{Use: "schedule", Aliases: []string{"schedules"}, Short: "Schedules: what the clock starts"}
	c.AddCommand(
		p.scheduleListCommand(), p.scheduleGetCommand(), p.schedulePauseCommand(), p.scheduleResumeCommand(), p.scheduleTriggerCommand(),
		p.scheduleBackfillCommand(), p.scheduleDeleteCommand(),
	)
	return c
}

// scheduleView is what is known of a schedule.
type scheduleView struct {
	Name     string               `json:"name"`
	When     string               `json:"when"`
	Revision int64                `json:"revision"`
	Paused   bool                 `json:"paused"`
	Note     string               `json:"note,omitempty"`
	Ended    bool                 `json:"ended"`
	Overlap  omniq.OverlapRule    `json:"overlap"`
	CatchUp  float64              `json:"catch_up_seconds"`
	Most     int                  `json:"catch_up_runs"`
	Spread   float64              `json:"spread_seconds"`
	MaxRuns  int                  `json:"max_runs,omitempty"`
	Declared instant              `json:"declared"`
	Next     []instant            `json:"next"`
	Counts   omniq.ScheduleCounts `json:"counts"`
	Waiting  int                  `json:"waiting"`
	Filling  int                  `json:"backfills"`
	Runs     []runView            `json:"runs"`
	Problem  string               `json:"problem,omitempty"`

	spread time.Duration
	late   time.Duration
}

// runView is one run, the ID of which is that of its task.
type runView struct {
	Time    instant         `json:"time"`
	Cause   omniq.TickCause `json:"cause"`
	ID      uuid.UUID       `json:"id"`
	Flow    uuid.UUID       `json:"flow"`
	Started instant         `json:"started"`
}

func viewSchedule(s *omniq.ScheduleInfo) scheduleView {
	const ticks = 5
	v := scheduleView{
		Name: s.Name, When: s.When.String(), Revision: s.Revision, Paused: s.Paused, Note: s.Note, Ended: s.Ended, Overlap: s.Overlap,
		CatchUp: seconds(s.CatchUp), Most: s.Most, Spread: seconds(s.Spread), MaxRuns: s.MaxRuns, Declared: instant{s.Declared},
		Next: []instant{}, Counts: s.Counts, Waiting: s.Waiting, Filling: s.Filling, Runs: []runView{}, Problem: s.Problem,
		spread: s.Spread, late: s.CatchUp,
	}
	for _, t := range s.Next(ticks) {
		v.Next = append(v.Next, instant{t})
	}
	for _, r := range s.Runs {
		v.Runs = append(v.Runs, runView{instant{r.Time}, r.Cause, r.ID, r.Flow, instant{r.Started}})
	}
	return v
}

func (s scheduleView) state() string {
	switch {
	case s.Problem != "":
		return "PROBLEM"
	case s.Paused:
		return "PAUSED"
	case s.Ended:
		return "ENDED"
	}
	return "ON"
}

func (s scheduleView) next() string {
	if len(s.Next) == 0 {
		return ""
	}
	return s.Next[0].String()
}

func (s scheduleView) last() string {
	if len(s.Runs) == 0 {
		return ""
	}
	return s.Runs[0].Started.String()
}

var scheduleColumns = []column[scheduleView]{
	{head: "NAME", cell: func(s scheduleView) string { return s.Name }},
	{head: "STATE", cell: scheduleView.state, paint: func(s scheduleView) string {
		return map[string]string{"PROBLEM": red, "PAUSED": yellow}[s.state()]
	}},
	{head: "WHEN", cell: func(s scheduleView) string { return s.When }},
	{head: "NEXT", cell: scheduleView.next},
	{head: "LAST RUN", cell: scheduleView.last},
	{head: "RUNS", cell: func(s scheduleView) string { return count(int(s.Counts.Runs)) }, right: true},
	{head: "MISSED", cell: func(s scheduleView) string { return count(int(s.Counts.Missed)) }, right: true},
	{head: "SKIPPED", cell: func(s scheduleView) string { return count(int(s.Counts.Skipped)) }, right: true},
	{head: "NOTE", cell: func(s scheduleView) string { return strings.Join(notEmpty(s.Problem, s.Note), "; ") }},
}

func notEmpty(texts ...string) []string {
	var some []string
	for _, s := range texts {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

func (p *program) scheduleListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "All schedules", Args: cobra.NoArgs,
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
			var unread error // one that a newer version has made is no reason to show none
			err := list(p, "there is no schedule", scheduleColumns, func(yield func(scheduleView, error) bool) {
				unread = nil
				for s, err := range client.Schedules(ctx) {
					switch {
					case err != nil:
						if unread != nil {
							p.tell("%v", unread)
						}
						unread = err
					case !yield(viewSchedule(s), nil):
						return
					}
				}
			})
			return firstError(err, unread)
		}),
	}
}

func (p *program) scheduleGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "A schedule: its times, its counts and its last runs", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			info, err := client.Schedule(args[0]).Describe(ctx)
			if err != nil {
				return err
			}
			v := viewSchedule(info)
			fields := []field{
				{"name", v.Name}, {"when", v.When}, {"state", v.state()}, {"note", v.Note}, {"problem", v.Problem},
				{"overlap", v.Overlap.String()}, {"catch up", fmt.Sprintf("%v, at most %d at once", v.late, v.Most)}, {"spread", duration(v.spread)},
				{"max runs", count(v.MaxRuns)}, {"revision", strconv.FormatInt(v.Revision, 10)}, {"declared", v.Declared.String()},
				{"runs", strconv.FormatInt(v.Counts.Runs, 10)}, {"missed", count(int(v.Counts.Missed))}, {"skipped", count(int(v.Counts.Skipped))},
				{"dropped", count(int(v.Counts.Dropped))}, {"waiting", count(v.Waiting)}, {"backfills", count(v.Filling)},
			}
			for _, t := range v.Next {
				fields = append(fields, field{"next", t.String()})
			}
			for _, r := range v.Runs {
				fields = append(fields, field{"run", fmt.Sprintf("%v  %s  task %v  flow %v", r.Time, r.Cause, r.ID, r.Flow)})
			}
			return show(p, v, fields...)
		}),
	}
}

// scheduleDoes is a command that changes a schedule. It waits while a worker decides about that, but not for ever.
func (p *program) scheduleDoes(done string, do func(context.Context, *omniq.ScheduleHandle[omniq.Raw]) error) func(*cobra.Command, []string) error {
	return p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		err := doneWithin(ctx, p.timeout, func(ctx context.Context) error { return do(ctx, client.Schedule(args[0])) })
		if err == nil {
			p.tell("%s schedule %s", done, args[0])
		}
		return err
	})
}

func (p *program) schedulePauseCommand() *cobra.Command {
	var note string
	c := &cobra.Command{
		Use: "pause NAME", Short: "Keep a schedule from starting runs, until resume", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		RunE: p.scheduleDoes("paused", func(ctx context.Context, s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Pause(ctx, note) }),
	}
	c.Flags().StringVar(&note, "note", "", "`why`, for those who look")
	return c
}

func (p *program) scheduleResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "End a pause", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		RunE: p.scheduleDoes("resumed", func(ctx context.Context, s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Resume(ctx) }),
	}
}

// triggeredView is the task of a run.
type triggeredView struct {
	ID uuid.UUID `json:"id"`
}

func (p *program) scheduleTriggerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trigger NAME", Short: "Start a run now, and print the ID of its task", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		Long: `Start a run now, beside those of the clock, and print the ID of its task. A worker stores the run. What has not begun
within --timeout begins later: when a worker comes, and when the run before it has ended, if it is not to run beside it.`,
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			waiting, cancel := context.WithTimeout(ctx, p.timeout)
			defer cancel()
			h, err := client.Schedule(args[0]).Trigger(waiting)
			switch {
			case h != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
				p.tell("the run has not begun within %v (--timeout): it will, when a worker comes and no other run is in its way", p.timeout)
			case h != nil && ctx.Err() != nil:
				return &failure{exitFailed, fmt.Errorf("interrupted: the run is stored, and begins when a worker comes: task %v", h.ID())}
			case err != nil:
				return err
			}
			if p.output == asTable {
				_, err := fmt.Fprintln(p.out, h.ID())
				return err
			}
			return document(p, triggeredView{h.ID()})
		}),
	}
}

func (p *program) scheduleBackfillCommand() *cobra.Command {
	var s sure
	c := &cobra.Command{
		Use: "backfill NAME", Short: "Start runs for the ticks between two times", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		Long: `Start runs for the ticks from a time on, and before another one. Ticks that have had runs have another one. It returns
when that is stored; a worker does it.`,
		Example: "  omniq schedule backfill report.nightly --from 2026-03-01T00:00:00Z --until 2026-03-08T00:00:00Z --dry-run",
	}
	from := c.Flags().String("from", "", "`time` of the first tick: RFC 3339, or how long ago, like 48h")
	until := c.Flags().String("until", "0s", "`time` before which the last one is; now unless set")
	s.flags(c)
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		first, err := readTime("from", *from)
		if err != nil {
			return err
		}
		end, err := readTime("until", *until)
		if err != nil {
			return err
		}
		if *from == "" || !first.Before(end) {
			return wrongUsage("--from and --until are to be a time and a later one")
		}
		schedule := client.Schedule(args[0])
		info, err := schedule.Describe(ctx)
		if err != nil {
			return err
		}
		const most = 100_000
		n := 0
		for at := first.Add(-time.Nanosecond); n < most; n++ {
			tick, ok := info.When.Next(at)
			if !ok || !tick.Before(end) {
				break
			}
			at = tick
		}
		b := &bulk{verb: "backfill", done: "ordered"}
		if !s.dry {
			ticks := strconv.Itoa(n)
			if n == most {
				ticks += " and more"
			}
			if err := p.confirm(ctx, &s, fmt.Sprintf("start %s runs of schedule %s", ticks, args[0])); err != nil {
				return err
			}
			if err := doneWithin(ctx, p.timeout, func(ctx context.Context) error { return schedule.Backfill(ctx, first, end) }); err != nil {
				return err
			}
		}
		return b.tell(p, &report{DryRun: s.dry, Tasks: n}, nil)
	})
	return c
}

func (p *program) scheduleDeleteCommand() *cobra.Command {
	var s sure
	c := &cobra.Command{
		Use: "delete NAME", Short: "Remove a schedule, and what it knows of its runs", Args: cobra.ExactArgs(1), ValidArgsFunction: p.schedules(),
		Long: `Remove a schedule, and what it knows of its runs. Those that have begun go on. A program that declares it makes it
anew when it starts.`,
	}
	c.Flags().BoolVar(&s.yes, "yes", false, "do it without asking")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		schedule := client.Schedule(args[0])
		if _, err := schedule.Describe(ctx); err != nil {
			return err
		}
		if err := p.confirm(ctx, &s, "delete schedule "+args[0]); err != nil {
			return err
		}
		err := doneWithin(ctx, p.timeout, schedule.Delete)
		if err == nil {
			p.tell("deleted schedule %s", args[0])
		}
		return err
	})
	return c
}
