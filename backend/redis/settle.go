package redis

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// writeResult writes a result as scripts take it, but for the ID.
func writeResult(w *writer, r *omniq.RawResult) error {
	w.number("status", int64(r.Status))
	if err := w.json("result", r.AppendJSON); err != nil {
		return fmt.Errorf("%w: redis: the result of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	w.value("attempt", r.Attempts)
	if r.TTL != nil {
		w.value("keep", microseconds(*r.TTL))
	}
	w.number("size", int64(len(r.ResultData)))
	return writeError(w, r.TaskID, r.Error)
}

// writeError writes the error of an attempt, if there is one.
func writeError(w *writer, id uuid.UUID, e *omniq.TaskError) error {
	why, err := encodeError(e)
	if err != nil {
		return fmt.Errorf("%w: redis: the error of task %v: %w", omniq.ErrInvalid, id, err)
	}
	if why != nil {
		w.value("error", why)
	}
	return nil
}

// noteFields are notes as scripts take them, nil for none.
func noteFields(n *omniq.Notes) fields {
	if n.Empty() {
		return nil
	}
	f := fields{}
	if n.Progress != nil {
		f["progress"] = []byte(n.Progress)
	}
	if n.State != nil {
		f["state"] = []byte(n.State)
	}
	if len(n.Stream) > 0 {
		items := make([]fields, len(n.Stream))
		for i, item := range n.Stream {
			items[i] = fields{"name": item.Name, "data": []byte(item.Data)}
		}
		f["stream"] = items
	}
	return f
}

func eventFields(events []*omniq.TaskEvent) ([]fields, error) {
	list := make([]fields, len(events))
	for i, e := range events {
		text, err := e.AppendJSON(nil)
		if err != nil {
			return nil, fmt.Errorf("%w: redis: an event of task %v: %w", omniq.ErrInvalid, e.TaskID, err)
		}
		list[i] = fields{"id": key(e.TaskID), "json": text}
	}
	return list, nil
}

// effectFields are effects as scripts take them, nil for none.
func effectFields(e *omniq.Effects) (fields, error) {
	if e == nil {
		return nil, nil
	}
	tasks, err := writeTasks(e.Enqueue)
	if err != nil {
		return nil, err
	}
	events, err := eventFields(e.Events)
	if err != nil {
		return nil, err
	}
	f := fields{"enqueue": tasks, "cancel": keysOf(e.Cancel), "after": edgeFields(e.After), "events": events}
	if notes := noteFields(&e.Notes); notes != nil {
		f["notes"] = notes
	}
	return f, nil
}

// writeOutcome writes what becomes of a task. An error is of this one alone.
func writeOutcome(w *writer, s *omniq.Settlement) error {
	if err := engine.CheckOutcome(s); err != nil {
		return err
	}
	effects, err := effectFields(s.Effects)
	if err != nil {
		return err
	}
	if effects != nil {
		w.value("effects", effects)
	}
	switch s.Action {
	case omniq.ActionFinish:
		return writeResult(w, s.Result)
	case omniq.ActionRetry:
		return writeError(w, s.TaskID, s.Error)
	}
	return nil
}

// Settle ends leases with what became of their attempts: see [omniq.TaskQueue].
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	for i := range settlements {
		if err := engine.CheckSettlement(&settlements[i]); err != nil {
			return nil, err
		}
	}
	w, ids := newWriter(len(settlements)), make([]uuid.UUID, len(settlements))
	refused := make(map[int]error)
	for i := range settlements {
		s := &settlements[i]
		w.begin()
		if err := writeOutcome(w, s); err != nil {
			refused[i] = err
			w.drop()
			w.flag("refused", true)
		}
		w.text("id", key(s.TaskID))
		w.text("token", s.Token)
		w.number("action", int64(s.Action))
		w.flag("keep_task", s.KeepTask)
		w.number("delay", microseconds(s.Delay))
		w.number("hold", microseconds(s.Hold))
		w.number("took", microseconds(s.Took))
		w.end()
		ids[i] = s.TaskID
	}
	answer, err := b.run(ctx, "settle", fields{"settlements": written(w.b)})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, refusals(refused))
}

// refusals are the errors of items that this program has refused, and the script has come to.
func refusals(refused map[int]error) func(int, string) error {
	return func(i int, word string) error {
		if word == "refused" {
			return refused[i]
		}
		return nil
	}
}

// Note keeps what handlers have to say of their tasks: see [omniq.TaskQueue].
func (b *Backend) Note(ctx context.Context, list []omniq.LeaseNotes) ([]error, error) {
	notes, ids := make([]fields, len(list)), make([]uuid.UUID, len(list))
	refused := make(map[int]error)
	for i := range list {
		n := &list[i]
		f := fields{"id": key(n.TaskID), "token": n.Token}
		if err := n.Validate(); err != nil {
			refused[i] = err
			f["refused"] = true
		} else if kept := noteFields(&n.Notes); kept != nil {
			f["notes"] = kept
		}
		notes[i], ids[i] = f, n.TaskID
	}
	answer, err := b.run(ctx, "note", fields{"notes": notes})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, refusals(refused))
}

// results are results as scripts take them.
func (b *Backend) results(ctx context.Context, script string, results []*omniq.RawResult) ([]error, error) {
	w, ids := newWriter(len(results)), make([]uuid.UUID, len(results))
	for i, r := range results {
		w.begin()
		w.text("id", key(r.TaskID))
		if err := writeResult(w, r); err != nil {
			return nil, err
		}
		w.end()
		ids[i] = r.TaskID
	}
	answer, err := b.run(ctx, script, fields{"results": written(w.b)})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, nil)
}

// Resolve ends manual tasks: see [omniq.TaskQueue].
func (b *Backend) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResolutions(results); err != nil {
		return nil, err
	}
	return b.results(ctx, "resolve", results)
}

// Record keeps results of tasks that another engine queues: see [omniq.ResultStore].
func (b *Backend) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResults(results); err != nil {
		return nil, err
	}
	return b.results(ctx, "record", results)
}
