package redis

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// resultFields is a result as scripts take it.
func resultFields(r *omniq.RawResult) (fields, error) {
	envelope, err := r.AppendJSON(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: redis: the result of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	why, err := encodeError(r.Error)
	if err != nil {
		return nil, fmt.Errorf("%w: redis: the error of task %v: %w", omniq.ErrInvalid, r.TaskID, err)
	}
	f := fields{"id": key(r.TaskID), "status": int(r.Status), "result": envelope, "attempt": r.Attempts}
	if why != nil {
		f["error"] = why
	}
	if r.TTL != nil {
		f["keep"] = microseconds(*r.TTL)
	}
	if n := len(r.ResultData); n > 0 {
		f["size"] = n
	}
	return f, nil
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
	tasks, err := allFields(e.Enqueue)
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

// settlementFields is a settlement as scripts take it. An error is of this one alone.
func settlementFields(s *omniq.Settlement) (f fields, err error) {
	f = fields{}
	if err := engine.CheckOutcome(s); err != nil {
		return f, err
	}
	switch s.Action {
	case omniq.ActionFinish:
		if f, err = resultFields(s.Result); err != nil {
			return fields{}, err
		}
	case omniq.ActionRetry:
		why, err := encodeError(s.Error)
		if err != nil {
			return f, fmt.Errorf("%w: redis: the error of task %v: %w", omniq.ErrInvalid, s.TaskID, err)
		}
		if why != nil {
			f["error"] = why
		}
	}
	effects, err := effectFields(s.Effects)
	if err != nil {
		return fields{}, err
	}
	if effects != nil {
		f["effects"] = effects
	}
	return f, nil
}

// Settle ends leases with what became of their attempts: see [omniq.TaskQueue].
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	for i := range settlements {
		if err := engine.CheckSettlement(&settlements[i]); err != nil {
			return nil, err
		}
	}
	list, ids := make([]fields, len(settlements)), make([]uuid.UUID, len(settlements))
	refused := make(map[int]error)
	for i := range settlements {
		s := &settlements[i]
		f, err := settlementFields(s)
		if err != nil {
			refused[i] = err
			f["refused"] = true
		}
		f["id"], f["token"], f["action"] = key(s.TaskID), s.Token, int(s.Action)
		if s.KeepTask {
			f["keep_task"] = true
		}
		f["delay"], f["hold"], f["took"] = microseconds(s.Delay), microseconds(s.Hold), microseconds(s.Took)
		list[i], ids[i] = f, s.TaskID
	}
	answer, err := b.run(ctx, "settle", fields{"settlements": list})
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
	list, ids := make([]fields, len(results)), make([]uuid.UUID, len(results))
	for i, r := range results {
		var err error
		if list[i], err = resultFields(r); err != nil {
			return nil, err
		}
		ids[i] = r.TaskID
	}
	answer, err := b.run(ctx, script, fields{"results": list})
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
