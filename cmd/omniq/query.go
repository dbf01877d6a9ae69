package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// queryFlags say which tasks are meant.
type queryFlags struct {
	command  *cobra.Command
	statuses []string
	flow     string
	like     string
	since    string
	until    string
	all      bool
	query    omniq.Query
}

// queryNames are the flags that choose tasks, in the order in which they are told.
var queryNames = []string{"status", "queue", "lane", "flow", "name", "worker", "contains", "like", "since", "until"}

// queryFlags adds the flags to a command. Bulk ones must be told when all are meant.
func (p *program) queryFlags(c *cobra.Command, bulk bool) *queryFlags {
	q := &queryFlags{command: c}
	flags := c.Flags()
	flags.StringSliceVar(&q.statuses, "status", nil, "tasks in this `state`; several are separated by commas")
	flags.StringVar(&q.query.Queue, "queue", "", "tasks of this `queue`")
	flags.StringVar(&q.query.Lane, "lane", "", "tasks of this `lane` of the --queue")
	flags.StringVar(&q.flow, "flow", "", "tasks of the flow with this `ID`")
	flags.StringVar(&q.query.Name, "name", "", "tasks that call this `function`")
	flags.StringVar(&q.query.Worker, "worker", "", "tasks that the worker with this `ID` has, or had last")
	flags.StringVar(&q.query.Contains, "contains", "", "tasks with this `text` in their arguments, metadata or error, byte for byte as in JSON")
	flags.StringVar(&q.like, "like", "", "tasks with an error like that of the task with this `ID`; see omniq errors")
	flags.StringVar(&q.since, "since", "", "tasks in their state since this `time` or later: RFC 3339, or how long ago, like 2h")
	flags.StringVar(&q.until, "until", "", "tasks in their state since before this `time`")
	if bulk {
		flags.BoolVar(&q.all, "all", false, "all tasks, without any of the flags that choose")
	}
	complete(c, "status", statusNames()...)
	p.completeQueues(c, "queue")
	p.completeNames(c, "name")
	p.completeWorkers(c, "worker")
	completeBy(c, "flow", p.flowIDs())
	completeBy(c, "like", p.taskIDs(omniq.StatusFailure))
	return q
}

// maxFlag adds the flag for how much is listed at the most, where 0 is all. The engine is not asked if it is negative.
func maxFlag(c *cobra.Command, usual int, what string) *int {
	most := c.Flags().Int("max", usual, what+" at the most; 0 for all")
	c.PreRunE = does(func(context.Context, []string) error {
		if *most < 0 {
			return wrongUsage("--max is %d, want at least 0", *most)
		}
		return nil
	})
	return most
}

// first yields the first n, or all for zero.
func first[T any](things iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		seen := 0
		for thing, err := range things {
			if !yield(thing, err) {
				return
			}
			if seen++; seen == n {
				return
			}
		}
	}
}

// given reports whether a flag says which tasks are meant.
func (q *queryFlags) given() bool {
	return q.all || slices.ContainsFunc(queryNames, func(name string) bool { return q.command.Flags().Changed(name) })
}

// value is what stands beside a flag that chooses tasks.
func (q *queryFlags) value(name string) (value string, given bool) {
	f := q.command.Flags().Lookup(name)
	if name == "status" {
		return strings.Join(q.statuses, ","), f.Changed
	}
	return f.Value.String(), f.Changed
}

// String repeats what was chosen, for those who are asked whether they mean it.
func (q *queryFlags) String() string {
	var chosen []string
	for _, name := range queryNames {
		if value, given := q.value(name); given {
			chosen = append(chosen, fmt.Sprintf("--%s %q", name, value))
		}
	}
	if chosen == nil {
		return "of all queues"
	}
	return "with " + strings.Join(chosen, " ")
}

// read is the query. Where the flags name no states, it has those in which something can be done.
func (q *queryFlags) read(ctx context.Context, client *omniq.Client, possible []omniq.Status) (omniq.Query, error) {
	query := q.query
	if q.all && slices.ContainsFunc(queryNames, q.command.Flags().Changed) {
		return query, wrongUsage("--all stands beside a flag that chooses some: which are meant?")
	}
	for _, name := range queryNames {
		if value, given := q.value(name); given && value == "" { // a variable of a script that is not set must not choose all
			return query, wrongUsage("--%s is empty, and would choose all: leave it out if these are meant", name)
		}
	}
	for _, s := range q.statuses {
		status, err := readStatus(s)
		if err != nil {
			return query, err
		}
		if !slices.Contains(possible, status) {
			return query, wrongUsage("--status is %v, want some of %v", status, possible)
		}
		query.Statuses = append(query.Statuses, status)
	}
	if query.Statuses == nil {
		query.Statuses = possible
	}
	if q.flow != "" {
		id, err := readID(q.flow)
		if err != nil {
			return query, err
		}
		query.Flow = id
	}
	since, err := readTime("since", q.since)
	if err != nil {
		return query, err
	}
	until, err := readTime("until", q.until)
	if err != nil {
		return query, err
	}
	var group *omniq.ErrorGroup
	if q.like != "" {
		if group, err = likeTask(ctx, client, q.like); err != nil {
			return query, err
		}
	}
	if since.IsZero() && until.IsZero() && group == nil {
		return query, nil
	}
	query.Where = func(t *omniq.TaskInfo) bool {
		return !t.Since.Before(since) && (until.IsZero() || t.Since.Before(until)) && (group == nil || group.Has(t))
	}
	return query, nil
}

// likeTask is the group of errors to which that of a task belongs.
func likeTask(ctx context.Context, client *omniq.Client, text string) (*omniq.ErrorGroup, error) {
	id, err := readID(text)
	if err != nil {
		return nil, err
	}
	info, err := client.Inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	if info.Error == nil {
		return nil, &failure{exitRefused, fmt.Errorf("task %v has no error that others could have, too", id)}
	}
	return &omniq.ErrorGroup{Type: info.Error.Type, Message: omniq.MaskMessage(info.Error.Message)}, nil
}

func readStatus(s string) (omniq.Status, error) {
	var status omniq.Status
	if err := status.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
		return 0, wrongUsage("--status is %q, want some of %s", s, strings.Join(statusNames(), ", "))
	}
	return status, nil
}

func statusNames() []string {
	var names []string
	for _, s := range omniq.Statuses() {
		names = append(names, s.String())
	}
	return names
}

func readID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || id == uuid.Nil {
		return id, wrongUsage("%q is no ID, want one like 0193b5a2-7c4e-7f00-8000-00000000002a", s)
	}
	return id, nil
}

// readTime reads the time of a flag: RFC 3339, or how long ago. It is zero for none.
func readTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, wrongUsage("--%s is %q, want a time like 2026-03-01T02:30:00Z, or how long ago, like 2h", flag, s)
	}
	return t, nil
}
