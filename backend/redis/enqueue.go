package redis

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// taskFields is a task as scripts take it: what engines look at beside the envelope.
func taskFields(t *omniq.RawTask) (fields, error) {
	envelope, err := t.AppendJSON(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: redis: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	f := fields{
		"id": key(t.ID), "name": t.FuncName, "queue": queueName(t.Queue), "on_held": int(t.OnHeld), "envelope": envelope,
	}
	set := func(name string, value int64) {
		if value != 0 {
			f[name] = value
		}
	}
	if t.Priority != 0 {
		f["prio"] = string(binary.BigEndian.AppendUint64(nil, ^(uint64(int64(t.Priority)) ^ 1<<63)))
	}
	if !t.RunAt.IsZero() {
		f["run_at"] = micros(t.RunAt)
	}
	set("delay", microseconds(t.Delay))
	if left, ok := t.Remaining(); ok {
		f["left"], f["ttl"] = left.Microseconds(), t.TTL.Microseconds()
	}
	if keep := *omniq.CancelledResult(t, t.CreatedAt, 0).TTL; keep != omniq.DefaultResultTTL {
		f["keep"] = microseconds(keep)
	}
	if keep := *omniq.InputsResult(t, t.CreatedAt, 0, 0).TTL; keep != omniq.DefaultFailureTTL {
		f["keep_fail"] = microseconds(keep)
	}
	if t.UniqueKey != "" {
		f["unique"] = t.UniqueKey
	}
	set("unique_for", microseconds(t.UniqueFor))
	set("id_for", microseconds(t.IDFor))
	set("within", microseconds(t.ReplaceWithin))
	if t.Lane != "" {
		f["lane"] = t.Lane
	}
	if t.Flow != uuid.Nil {
		f["flow"] = key(t.Flow)
	}
	if t.Manual {
		f["manual"] = true
	}
	if t.Tied() {
		f["tied"] = true
	}
	f["after"] = edgeFields(t.After)
	return f, nil
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

func allFields(tasks []*omniq.RawTask) ([]fields, error) {
	list := make([]fields, len(tasks))
	for i, t := range tasks {
		var err error
		if list[i], err = taskFields(t); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Enqueue stores tasks, all or none: see [omniq.TaskQueue].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	list, err := allFields(tasks)
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
