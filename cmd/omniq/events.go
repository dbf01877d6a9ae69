package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

func (p *program) eventsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "events", Short: "What has happened to tasks, the oldest first; with --follow also what happens from now on", Args: cobra.NoArgs,
		Long: `What has happened to tasks, the oldest first; with --follow also what happens from now on, until Ctrl-C.

There are those events that programs keep: see OMNIQ_EVENTS.`,
		Example: "  omniq events --follow --type failed,retried\n  omniq events --task 0193b5a2-7c4e-7f00-8000-00000000002a",
	}
	flags := c.Flags()
	follow := flags.BoolP("follow", "f", false, "wait for further ones")
	fresh := flags.Bool("new", false, "only those from now on; with --follow")
	types := flags.StringSlice("type", nil, "of this `type`; several are separated by commas")
	queue := flags.String("queue", "", "of tasks of this `queue`")
	name := flags.String("name", "", "of tasks that call this `function`")
	task := flags.String("task", "", "of the task with this `ID`")
	complete(c, "type", typeNames()...)
	p.completeQueues(c, "queue")
	p.completeNames(c, "name")
	completeBy(c, "task", p.taskIDs())
	c.RunE = does(func(ctx context.Context, _ []string) error {
		var of uuid.UUID
		var err error
		if flags.Changed("task") {
			if of, err = readID(*task); err != nil {
				return err
			}
		}
		var wanted []omniq.EventType
		for _, s := range *types {
			var t omniq.EventType
			if err := t.UnmarshalText([]byte(strings.ToUpper(s))); err != nil {
				return wrongUsage("--type is %q, want some of %s", s, strings.Join(typeNames(), ", "))
			}
			wanted = append(wanted, t)
		}
		if *fresh && !*follow {
			return wrongUsage("--new shows nothing without --follow")
		}
		return p.with(ctx, func(client *omniq.Client) error {
			cursor := omniq.CursorOldest
			if *fresh {
				cursor = omniq.CursorLatest
			}
			read := client.Events
			if *follow {
				read = client.Follow
			}
			chosen := func(e *omniq.TaskEvent) bool {
				return (wanted == nil || slices.Contains(wanted, e.EventType)) && (*queue == "" || e.Queue == *queue) &&
					(*name == "" || e.FuncName == *name) && (of == uuid.Nil || e.TaskID == of)
			}
			events := read(ctx, &cursor)
			if of != uuid.Nil && !*follow {
				events = client.Timeline(ctx, of)
			}
			err := p.events(choose(events, chosen), *follow)
			if *follow && errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return nil // Ctrl-C is how it ends
			}
			if errors.Is(err, omniq.ErrNoEvents) {
				return errors.New("nobody keeps events here: see OMNIQ_EVENTS")
			}
			return err
		})
	})
	return c
}

func typeNames() []string {
	var names []string
	for _, t := range omniq.EventTypes() {
		names = append(names, t.String())
	}
	return names
}

// choose yields those of which chosen is true.
func choose(events iter.Seq2[omniq.TaskEvent, error], chosen func(*omniq.TaskEvent) bool) iter.Seq2[omniq.TaskEvent, error] {
	return func(yield func(omniq.TaskEvent, error) bool) {
		for e, err := range events {
			if (err != nil || chosen(&e)) && !yield(e, err) {
				return
			}
		}
	}
}

var eventColumns = []column[omniq.TaskEvent]{
	{head: "TIME", cell: func(e omniq.TaskEvent) string { return instant{e.Timestamp}.String() }},
	{head: "TYPE", cell: func(e omniq.TaskEvent) string { return e.EventType.String() }, paint: eventColour},
	{head: "TASK", cell: func(e omniq.TaskEvent) string { return e.TaskID.String() }},
	{head: "QUEUE", cell: func(e omniq.TaskEvent) string { return e.Queue }},
	{head: "NAME", cell: func(e omniq.TaskEvent) string { return e.FuncName }},
	{head: "ATTEMPT", cell: func(e omniq.TaskEvent) string { return count(e.Attempt) }, right: true},
	{head: "WORKER", cell: func(e omniq.TaskEvent) string {
		if e.WorkerID == nil {
			return ""
		}
		return *e.WorkerID
	}},
	{head: "ERROR", cell: func(e omniq.TaskEvent) string { return errorText(e.Error) }},
}

func eventColour(e omniq.TaskEvent) string {
	switch e.EventType {
	case omniq.EventFailed, omniq.EventExpired:
		return red
	case omniq.EventRetried, omniq.EventCancelled, omniq.EventMissed, omniq.EventSkipped, omniq.EventDropped:
		return yellow
	}
	return ""
}

// events writes events: each at once, if they are followed.
func (p *program) events(events iter.Seq2[omniq.TaskEvent, error], follow bool) error {
	const none = "no events are kept of what is asked for"
	if !follow {
		return list(p, none, eventColumns, events)
	}
	switch p.output {
	case asTable:
		return table(p, "", eventColumns, events, 1)
	case asJSON:
		return wrongUsage("what is followed has no end, and is no JSON document: want -o jsonl, or a table")
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := document(p, e); err != nil {
			return err
		}
	}
	return nil
}
