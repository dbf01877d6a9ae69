package redis

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// writeTask writes a task as scripts take it: what engines look at beside the envelope.
func writeTask(w *writer, t *omniq.RawTask) error {
	w.begin()
	w.text("id", key(t.ID))
	w.text("name", t.FuncName)
	w.text("queue", queueName(t.Queue))
	if err := w.json("envelope", t.AppendJSON); err != nil {
		return fmt.Errorf("%w: redis: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	w.number("on_held", int64(t.OnHeld))
	if t.Priority != 0 {
		w.text("prio", string(binary.BigEndian.AppendUint64(nil, ^(uint64(int64(t.Priority))^1<<63))))
	}
	if !t.RunAt.IsZero() {
		w.number("run_at", micros(t.RunAt))
	}
	w.number("delay", microseconds(t.Delay))
	if left, ok := t.Remaining(); ok {
		w.value("left", left.Microseconds())
		w.value("ttl", t.TTL.Microseconds())
	}
	if t.ResultTTL != nil || t.FailureTTL != nil { // else both are as usual
		if keep := *omniq.CancelledResult(t, t.CreatedAt, 0).TTL; keep != omniq.DefaultResultTTL {
			w.value("keep", microseconds(keep))
		}
		if keep := *omniq.InputsResult(t, t.CreatedAt, 0, 0).TTL; keep != omniq.DefaultFailureTTL {
			w.value("keep_fail", microseconds(keep))
		}
	}
	if t.UniqueKey != "" {
		w.text("unique", t.UniqueKey)
	}
	w.number("unique_for", microseconds(t.UniqueFor))
	w.number("id_for", microseconds(t.IDFor))
	w.number("within", microseconds(t.ReplaceWithin))
	if t.Lane != "" {
		w.text("lane", t.Lane)
	}
	if t.Flow != uuid.Nil {
		w.text("flow", key(t.Flow))
	}
	w.flag("manual", t.Manual)
	w.flag("tied", t.Tied())
	if len(t.After) > 0 {
		w.value("after", edgeFields(t.After))
	}
	w.end()
	return nil
}

func edgeFields(after []omniq.Dependency) []fields {
	edges := make([]fields, len(after))
	for i, d := range after {
		edges[i] = fields{"id": key(d.ID), "need": int(d.Need)}
		if d.Input {
			edges[i]["input"] = true
		}
	}
	return edges
}

func writeTasks(tasks []*omniq.RawTask) (written, error) {
	w := newWriter(len(tasks))
	for _, t := range tasks {
		if err := writeTask(w, t); err != nil {
			return nil, err
		}
	}
	return w.b, nil
}

// Enqueue stores tasks, all or none: see [omniq.TaskQueue].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	list, err := writeTasks(tasks)
	if err != nil {
		return nil, err
	}
	answer, err := b.run(ctx, "enqueue", fields{"tasks": list})
	if err != nil {
		return nil, err
	}
	parts, err := answer.ToArray()
	if err != nil || len(parts) != 2 {
		return nil, errPacked
	}
	if what, _ := parts[0].ToString(); what == "impossible" {
		why, err := parts[1].ToArray()
		if err != nil || len(why) == 0 {
			return nil, errPacked
		}
		word, _ := why[0].ToString()
		return nil, reasonOf(uuid.Nil, word, why[1:])
	}
	ids := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	return answers(parts[1], ids, nil)
}
