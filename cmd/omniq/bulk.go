package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
)

// bulk is something that is done to many tasks at once.
type bulk struct {
	verb, done string // cancel, cancelled
	possible   []omniq.Status
	each       func(*omniq.Client, context.Context, ...uuid.UUID) error
	all        func(*omniq.Client, context.Context, omniq.Query) (int, error)
}

// report is what has become of it.
type report struct {
	Action  string        `json:"action"`
	DryRun  bool          `json:"dry_run"`
	Tasks   int           `json:"tasks"` // to which it was done, or would be
	Refused []refusedTask `json:"refused"`
}

type refusedTask struct {
	TaskID uuid.UUID `json:"task_id"`
	Error  string    `json:"error"`
	err    error
}

// sure are the flags of what is not done without being asked twice.
type sure struct{ yes, dry bool }

func (s *sure) flags(c *cobra.Command) {
	c.Flags().BoolVar(&s.yes, "yes", false, "do it without asking")
	c.Flags().BoolVar(&s.dry, "dry-run", false, "do nothing, and tell to how many it would be done")
}

// confirm asks a person; without one it demands --yes.
func (p *program) confirm(ctx context.Context, s *sure, question string) error {
	switch {
	case s.yes:
		return nil
	case !p.terminal.in || !p.terminal.err:
		return wrongUsage("there is nobody to ask: %s? Give --yes, or --dry-run to see how many", question)
	}
	fmt.Fprintf(p.err, "%s? [y/N] ", printable(question))
	answer := make(chan string, 1)
	go func() { // ends with the program, if nobody answers
		line, _ := bufio.NewReader(p.in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return &failure{exitFailed, errors.New("nothing was done")}
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return &failure{exitFailed, errors.New("interrupted: nothing was done")}
	}
}

// wipe clears the line of a terminal.
const wipe = "\r\x1b[K"

// progress draws how far something has come, for a person. The function that it returns wipes it away.
func (p *program) progress(line func() string) (stop func()) {
	if !p.terminal.err {
		return func() {}
	}
	end := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		ticks := time.NewTicker(200 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-end:
				_, _ = io.WriteString(p.err, wipe) // nobody can be told that it fails
				return
			case <-ticks.C:
				fmt.Fprintf(p.err, "%s%s", wipe, line())
			}
		}
	})
	return func() { close(end); drawing.Wait() }
}

// doneOf is how far something has come: of so many, or of nobody knows how many for zero.
func doneOf(verb string, n, of int64) string {
	if of == 0 {
		return fmt.Sprintf("%s: %d tasks", verb, n)
	}
	const width = 30
	full := int(width * min(n, of) / of) // more may have come since they were counted
	return fmt.Sprintf("%s [%s%s] %d of %d tasks", verb, strings.Repeat("#", full), strings.Repeat(" ", width-full), n, of)
}

// counting is the query with a counter of the tasks that it finds.
func counting(q omniq.Query) (omniq.Query, *atomic.Int64) {
	found, where := new(atomic.Int64), q.Where
	q.Where = func(t *omniq.TaskInfo) bool {
		if where != nil && !where(t) {
			return false
		}
		found.Add(1)
		return true
	}
	return q, found
}

// count is how many tasks a query means.
func (p *program) count(ctx context.Context, client *omniq.Client, q omniq.Query) (int, error) {
	q, found := counting(q)
	defer p.progress(func() string { return fmt.Sprintf("%d tasks found", found.Load()) })()
	for _, err := range client.Search(ctx, q) {
		if err != nil {
			return 0, err
		}
	}
	return int(found.Load()), nil
}

// command is one that does it to the tasks of the arguments, or to those that the flags choose.
func (b *bulk) command(p *program, short, example string) *cobra.Command {
	var s sure
	c := &cobra.Command{
		Use: b.verb + " [ID... | -] [flags]", Short: short, Example: example,
		Long: short + `.

The tasks are those with the IDs, or of which the flags say so. A single - reads IDs from the standard
input, one a line. What the flags choose is counted and asked about on a terminal, and needs --yes without
one. Tasks that are refused are told, and the others are done.`,
		ValidArgsFunction: p.taskIDs(b.possible...),
	}
	q := p.queryFlags(c, true)
	s.flags(c)
	c.RunE = p.asks(func(ctx context.Context, client *omniq.Client, args []string) error {
		if q.given() == (len(args) > 0) {
			return wrongUsage("which tasks? Give IDs, or flags like --queue, or --all")
		}
		if len(args) > 0 {
			if slices.Equal(args, []string{"-"}) {
				return b.toIDs(ctx, p, client, scanIDs(p.in), 0, &s)
			}
			ids, err := readIDs(args)
			if err != nil {
				return err
			}
			return b.toIDs(ctx, p, client, all(ids), len(ids), &s)
		}
		query, err := q.read(ctx, client, b.possible)
		if err != nil {
			return err
		}
		return b.toQuery(ctx, p, client, query, &s, q.String())
	})
	return c
}

// toQuery does it to all that a query means.
func (b *bulk) toQuery(ctx context.Context, p *program, client *omniq.Client, query omniq.Query, s *sure, chosen string) error {
	of := 0
	if s.dry || !s.yes && p.terminal.in && p.terminal.err {
		n, err := p.count(ctx, client, query)
		switch {
		case err != nil:
			return err
		case s.dry:
			return b.tell(p, &report{DryRun: true, Tasks: n}, nil)
		}
		of = n
		if err := p.confirm(ctx, s, fmt.Sprintf("%s %s %s", b.verb, plural(n, "task"), chosen)); err != nil {
			return err
		}
	} else if err := p.confirm(ctx, s, fmt.Sprintf("%s all tasks %s", b.verb, chosen)); err != nil {
		return err
	}
	query, found := counting(query)
	stop := p.progress(func() string { return doneOf(b.verb, found.Load(), int64(of)) })
	n, err := b.all(client, ctx, query)
	stop()
	r := &report{Tasks: n}
	return b.tell(p, r, r.take(err))
}

// toIDs does it to the tasks with the IDs, some at a time. There are so many of them, or nobody knows how many for zero.
func (b *bulk) toIDs(ctx context.Context, p *program, client *omniq.Client, ids iter.Seq2[uuid.UUID, error], of int, s *sure) error {
	const batch = 1000
	r := &report{DryRun: s.dry}
	var done atomic.Int64
	stop := p.progress(func() string { return doneOf(b.verb, done.Load(), int64(of)) })
	err := inBatches(ids, batch, func(ids []uuid.UUID) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		refused := len(r.Refused)
		var err error
		if s.dry {
			err = b.would(ctx, client, ids, r)
		} else {
			err = r.take(b.each(client, ctx, ids...))
		}
		if err == nil {
			r.Tasks += len(ids) - (len(r.Refused) - refused)
		}
		done.Add(int64(len(ids)))
		return err
	})
	stop()
	return b.tell(p, r, err)
}

// would finds out which of the tasks would be refused.
func (b *bulk) would(ctx context.Context, client *omniq.Client, ids []uuid.UUID, r *report) error {
	for _, id := range ids {
		info, err := client.Inspect(ctx, id)
		if err == nil && !slices.Contains(b.possible, info.Status) {
			err = fmt.Errorf("%w: it is %v", omniq.ErrState, info.Status)
		}
		switch {
		case err == nil:
		case errors.Is(err, omniq.ErrNotFound), errors.Is(err, omniq.ErrState):
			r.refuse(id, err)
		default:
			return err
		}
	}
	return nil
}

func (r *report) refuse(id uuid.UUID, err error) {
	r.Refused = append(r.Refused, refusedTask{id, strings.TrimPrefix(err.Error(), "omniq: "), err})
}

// take takes what was refused out of an error, and returns the rest of it.
func (r *report) take(err error) error {
	one, ours := errors.AsType[*omniq.BulkError](err)
	if !ours {
		return err
	}
	for _, t := range one.Refused {
		r.refuse(t.ID, t.Err)
	}
	if err == error(one) {
		return nil
	}
	return firstOther(err)
}

// firstOther is the error beside a [omniq.BulkError].
func firstOther(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			if _, refused := err.(*omniq.BulkError); !refused {
				return err
			}
		}
	}
	return err
}

// tell writes what was done, and returns what keeps it from being all.
func (b *bulk) tell(p *program, r *report, err error) error {
	r.Action = b.verb
	status := exitDone
	for _, t := range r.Refused {
		p.tell("%s task %v: %s", b.verb, t.TaskID, t.Error)
		status = max(status, statusOf(t.err))
	}
	text := fmt.Sprintf("%s %s", plural(r.Tasks, "task"), b.done)
	if r.DryRun {
		text = fmt.Sprintf("%s would be %s", plural(r.Tasks, "task"), b.done)
	}
	if len(r.Refused) > 0 {
		text += fmt.Sprintf(", %d refused", len(r.Refused))
	} else {
		r.Refused = []refusedTask{} // [] and not null
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{exitFailed, fmt.Errorf("interrupted: at least %s", text)} // nobody knows of the batch that was under way
	case err != nil:
		return &failure{exitOf(failed(err)), fmt.Errorf("%s, and then: %w", text, err)}
	}
	if p.output == asTable {
		_, err = fmt.Fprintln(p.out, text)
	} else {
		err = document(p, r)
	}
	if err == nil && status != exitDone {
		err = &failure{status: status}
	}
	return err
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// readIDs reads those of the command line: all of them first, so that a mistake in the last one does nothing.
func readIDs(args []string) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, len(args))
	for i, arg := range args {
		var err error
		if ids[i], err = readID(arg); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// scanIDs reads one of each line.
func scanIDs(r io.Reader) iter.Seq2[uuid.UUID, error] {
	return func(yield func(uuid.UUID, error) bool) {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			if line == "" {
				continue
			}
			if id, err := readID(line); !yield(id, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(uuid.Nil, err)
		}
	}
}

// inBatches hands IDs on, so many at a time. The slice is used again.
func inBatches(ids iter.Seq2[uuid.UUID, error], size int, do func([]uuid.UUID) error) error {
	batch := make([]uuid.UUID, 0, size)
	for id, err := range ids {
		if err != nil {
			return err
		}
		if batch = append(batch, id); len(batch) == size {
			if err := do(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return do(batch)
}
