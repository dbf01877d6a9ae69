package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

func (p *program) taskCommand() *cobra.Command {
	c := &cobra.Command{Use: "task", Aliases: []string{"tasks"}, Short: "Tasks: find them, look at them, do something to them"}
	c.AddCommand(
		p.taskListCommand(), p.taskGetCommand(), p.taskResultCommand(),
		(&bulk{
			verb: "cancel", done: "cancelled", possible: []omniq.Status{omniq.StatusWaiting, omniq.StatusPending, omniq.StatusRunning},
			each: (*omniq.Client).Cancel, all: (*omniq.Client).CancelAll,
		}).command(p, "End tasks that have not ended",
			"  omniq task cancel 0193b5a2-7c4e-7f00-8000-00000000002a\n  omniq task cancel --queue mail --status pending"),
		(&bulk{
			verb: "requeue", done: "requeued", possible: []omniq.Status{omniq.StatusFailure, omniq.StatusCancelled, omniq.StatusExpired},
			each: (*omniq.Client).Requeue, all: (*omniq.Client).RequeueAll,
		}).command(p, "Enqueue tasks again that failed, were cancelled or have expired, under the same IDs",
			"  omniq task requeue --name send_mail --contains \"connection refused\" --dry-run\n"+
				"  omniq task list --since 2h --status failure -o jsonl | jq -r .id | omniq task requeue -"),
		(&bulk{
			verb: "forget", done: "forgotten", possible: []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure, omniq.StatusCancelled, omniq.StatusExpired},
			each: (*omniq.Client).Forget, all: (*omniq.Client).ForgetAll,
		}).command(p, "Remove the results of tasks that have ended, and all that is known of them",
			"  omniq task forget --queue mail --status success --until 24h"),
		p.taskEnqueueCommand(), p.taskRerunCommand(),
	)
	return c
}

// taskView is what is known of a task, under the wire's names where it has one.
type taskView struct {
	ID       uuid.UUID        `json:"id"`
	FuncName string           `json:"func_name"`
	Queue    string           `json:"queue"`
	Status   omniq.Status     `json:"status"`
	Attempts int              `json:"attempts"`
	Lost     int              `json:"lost"`
	Since    instant          `json:"since"`
	Due      instant          `json:"due"`
	WorkerID string           `json:"worker_id,omitempty"`
	Lane     string           `json:"lane,omitempty"`
	Flow     *uuid.UUID       `json:"flow,omitempty"`
	After    []dependencyView `json:"after,omitempty"`
	Error    *omniq.TaskError `json:"error,omitempty"`
	Progress omniq.Raw        `json:"progress,omitempty"`
	State    omniq.Raw        `json:"state,omitempty"`
	Task     *omniq.RawTask   `json:"task"` // null when it has succeeded
}

// dependencyView is a dependency as the wire has it.
type dependencyView struct {
	ID    uuid.UUID  `json:"id"`
	Need  omniq.Need `json:"need,omitempty"`
	Input bool       `json:"input,omitempty"`
}

func viewTask(t *omniq.TaskInfo) taskView {
	v := taskView{
		ID: t.ID, FuncName: t.FuncName, Queue: t.Queue, Status: t.Status, Attempts: t.Attempts, Lost: t.Lost, Since: instant{t.Since},
		Due: instant{t.Due}, WorkerID: t.WorkerID, Lane: t.Lane, Error: t.Error, Progress: t.Progress, State: t.State, Task: t.Task,
	}
	if t.Flow != uuid.Nil {
		v.Flow = &t.Flow
	}
	for _, d := range t.After {
		v.After = append(v.After, dependencyView{d.ID, d.Need, d.Input})
	}
	return v
}

var taskColumns = []column[taskView]{
	{head: "ID", cell: func(t taskView) string { return t.ID.String() }},
	{head: "STATUS", cell: func(t taskView) string { return t.Status.String() }, paint: func(t taskView) string { return colourOf(t.Status) }},
	{head: "QUEUE", cell: func(t taskView) string { return t.Queue }},
	{head: "NAME", cell: func(t taskView) string { return t.FuncName }},
	{head: "ATTEMPTS", cell: func(t taskView) string { return count(t.Attempts) }, right: true},
	{head: "SINCE", cell: func(t taskView) string { return t.Since.String() }},
	{head: "ERROR", cell: func(t taskView) string { return errorText(t.Error) }},
}

func colourOf(s omniq.Status) string {
	switch s {
	case omniq.StatusFailure, omniq.StatusExpired:
		return red
	case omniq.StatusRunning:
		return green
	case omniq.StatusCancelled:
		return yellow
	}
	return ""
}

func errorText(e *omniq.TaskError) string {
	if e == nil {
		return ""
	}
	return e.Error()
}

func (p *program) taskListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "The tasks of which the flags say so: state by state, the newest first", Args: cobra.NoArgs,
		Example: "  omniq task list --status failure --contains customer-17\n  omniq task list --queue mail -o jsonl",
	}
	q := p.queryFlags(c, false)
	most := maxFlag(c, 0, "how many")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, _ []string) error {
		query, err := q.read(ctx, client, omniq.Statuses())
		if err != nil {
			return err
		}
		return list(p, "no tasks "+q.String(), taskColumns, views(first(client.Search(ctx, query), *most)))
	})
	return c
}

func views(tasks iter.Seq2[*omniq.TaskInfo, error]) iter.Seq2[taskView, error] {
	return func(yield func(taskView, error) bool) {
		for t, err := range tasks {
			var v taskView
			if err == nil {
				v = viewTask(t)
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

func (p *program) taskGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "What is known of a task: its state, attempts, error, and itself", Args: cobra.ExactArgs(1),
		ValidArgsFunction: p.taskIDs(),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			id, err := readID(args[0])
			if err != nil {
				return err
			}
			info, err := client.Inspect(ctx, id)
			if err != nil {
				return err
			}
			return show(p, viewTask(info), taskFields(info)...)
		}),
	}
}

// taskFields is a task for people.
func taskFields(t *omniq.TaskInfo) []field {
	v := viewTask(t)
	fields := []field{
		{"id", v.ID.String()},
		{"name", v.FuncName},
		{"queue", v.Queue},
		{"lane", v.Lane},
		{"status", v.Status.String()},
		{"since", v.Since.String()},
		{"due", v.Due.String()},
		{"attempts", strconv.Itoa(v.Attempts)},
		{"lost", count(v.Lost)},
		{"worker", v.WorkerID},
		{"progress", string(v.Progress)},
		{"state", string(v.State)},
	}
	if v.Flow != nil {
		fields = append(fields, field{"flow", v.Flow.String()})
	}
	for _, d := range v.After {
		fields = append(fields, field{"after", fmt.Sprintf("%v (%v)", d.ID, d.Need)})
	}
	if task := t.Task; task != nil {
		fields = append(fields, field{"created", instant{task.CreatedAt}.String()})
		if task.TTL != nil {
			fields = append(fields, field{"ttl", task.TTL.String()})
		}
		fields = append(fields, field{"unique key", task.UniqueKey})
		for _, pair := range sortedPairs(task.Metadata) {
			fields = append(fields, field{"metadata", pair[0] + ": " + pair[1]})
		}
		fields = append(fields, field{"args", payload(task.Codec, task.Args)}, field{"kwargs", payload(task.Codec, task.Kwargs)})
	}
	if v.Error != nil {
		fields = append(fields, field{"error", v.Error.Error()})
		for i, line := range strings.Split(strings.TrimSpace(v.Error.Stack), "\n") {
			fields = append(fields, field{[]string{"stack", "."}[min(i, 1)], strings.ReplaceAll(line, "\t", "    ")})
		}
	}
	return fields
}

// payload is one for people. What another codec than JSON has made is named, and not shown.
func payload(name string, data omniq.Raw) string {
	if name == "" || name == codec.NameJSON {
		return string(data)
	}
	return fmt.Sprintf("%s, %d bytes", name, len(data))
}

func (p *program) taskResultCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "result ID", Short: "The result of a task that has ended, in whatever way", Args: cobra.ExactArgs(1),
		Long: `The result of a task that has ended, in whatever way.

It is 4, and not an error of the task, if it has not ended; with --wait it is waited for.`,
		ValidArgsFunction: p.taskIDs(omniq.StatusSuccess, omniq.StatusFailure),
	}
	wait := c.Flags().Bool("wait", false, "wait until the task has ended")
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		id, err := readID(args[0])
		if err != nil {
			return err
		}
		var r omniq.RawResult
		if *wait {
			r, err = client.Wait(ctx, id)
		} else {
			r, err = client.Result(ctx, id)
		}
		if err != nil {
			return err
		}
		if !r.Status.Final() {
			return &failure{exitRefused, fmt.Errorf("task %v has not ended: it is %v. With --wait its result is waited for", id, r.Status)}
		}
		return p.showResult(&r)
	})
	return c
}

func (p *program) showResult(r *omniq.RawResult) error {
	return show(p, r,
		field{"task", r.TaskID.String()}, field{"status", r.Status.String()}, field{"time", instant{r.Timestamp}.String()},
		field{"attempts", strconv.Itoa(r.Attempts)}, field{"error", errorText(r.Error)}, field{"result", payload(r.Codec, r.ResultData)})
}

// copyView tells which task is a copy of which.
type copyView struct {
	ID     uuid.UUID `json:"id"`
	CopyOf uuid.UUID `json:"copy_of"`
}

func (p *program) taskRerunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rerun ID...", Short: "Enqueue copies of tasks that have ended, under new IDs, and print these", Args: cobra.MinimumNArgs(1),
		Long: `Enqueue copies of tasks that have ended, under new IDs, and print these.

The copy has the arguments and the options of the task, is due at once, and is a member of no flow. It needs
what the engine has kept of the task: that of one that has failed, was cancelled or has expired, and of one that
has succeeded if it was enqueued with KeepTask.`,
		ValidArgsFunction: p.taskIDs(omniq.StatusFailure, omniq.StatusCancelled, omniq.StatusExpired),
		RunE: p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
			ids, err := readIDs(args)
			if err != nil {
				return err
			}
			status := exitDone
			err = list(p, "", []column[copyView]{
				{head: "ID", cell: func(c copyView) string { return c.ID.String() }},
				{head: "COPY OF", cell: func(c copyView) string { return c.CopyOf.String() }},
			}, func(yield func(copyView, error) bool) {
				for _, id := range ids {
					made, err := rerun(ctx, client, id)
					if s := statusOf(err); err != nil && s != exitFailed {
						p.tell("rerun task %v: %v", id, err)
						status = max(status, s)
						continue
					}
					if !yield(copyView{made, id}, err) || err != nil {
						return
					}
				}
			})
			if err == nil && status != exitDone {
				err = &failure{status: status}
			}
			return err
		}),
	}
}

// rerun enqueues a copy of a task.
func rerun(ctx context.Context, client *omniq.Client, id uuid.UUID) (uuid.UUID, error) {
	info, err := client.Inspect(ctx, id)
	switch {
	case err != nil:
		return uuid.Nil, err
	case !info.Status.Final():
		return uuid.Nil, fmt.Errorf("%w: it is %v", omniq.ErrState, info.Status)
	case info.Task == nil:
		return uuid.Nil, fmt.Errorf("%w: its arguments are not kept", omniq.ErrState)
	case info.Task.Manual || info.Task.Input != "":
		return uuid.Nil, fmt.Errorf("%w: it is part of a flow, without which there is no copy of it", omniq.ErrState)
	}
	made, err := omniq.NewTask(info.Task.FuncName, info.Task.Args, info.Task.Kwargs)
	if err != nil {
		return uuid.Nil, err
	}
	from := info.Task
	made.Codec, made.TTL, made.Queue, made.Priority, made.Lane = from.Codec, from.TTL, from.Queue, from.Priority, from.Lane
	made.MaxAttempts, made.Timeout, made.Metadata = from.MaxAttempts, from.Timeout, from.Metadata
	made.ResultTTL, made.FailureTTL, made.KeepTask = from.ResultTTL, from.FailureTTL, from.KeepTask
	made.UniqueKey, made.UniqueFor = from.UniqueKey, from.UniqueFor
	return made.ID, client.Enqueue(ctx, made)
}
