package redis

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// each runs a script that does something with each of the tasks.
func (b *Backend) each(ctx context.Context, script string, ids []uuid.UUID) ([]error, error) {
	answer, err := b.run(ctx, script, fields{"ids": keysOf(ids)})
	if err != nil {
		return nil, err
	}
	return answers(answer, ids, nil)
}

// Cancel ends tasks that are not final: see [omniq.TaskQueue].
func (b *Backend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, "cancel", ids)
}

// RunNow makes tasks due now that wait for their time: see [omniq.TaskQueue].
func (b *Backend) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, "run_now", ids)
}

// Forget removes results before their time is over: see [omniq.ResultStore].
func (b *Backend) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, "forget", ids)
}

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue]. The tasks of the call are requeued in one step, and
// of very many that follow them a part at a time: it returns when all are, or when ctx has ended; anybody goes on with the others then.
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	answer, err := b.run(ctx, "requeue", fields{"ids": keysOf(ids), "follow": follow})
	if err != nil {
		return nil, err
	}
	parts, err := answer.ToArray()
	if err != nil || len(parts) != 2 {
		return nil, errPacked
	}
	for left, _ := parts[1].AsInt64(); left == 1; {
		answer, err := b.run(ctx, "sweep", fields{})
		if err != nil {
			break
		}
		if numbers, err := answer.AsIntSlice(); err != nil || len(numbers) != 3 || numbers[2] == 0 {
			break
		}
	}
	return answers(parts[0], ids, nil)
}

// Free takes unique keys from the tasks that hold them: see [omniq.TaskQueue].
func (b *Backend) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	if err := engine.CheckKeys(keys); err != nil {
		return nil, err
	}
	list := make([]fields, len(keys))
	for i, k := range keys {
		list[i] = fields{"name": k.FuncName, "key": k.Key}
	}
	answer, err := b.run(ctx, "free", fields{"keys": list})
	if err != nil {
		return nil, err
	}
	return answers(answer, make([]uuid.UUID, len(keys)), nil)
}

// Update gives tasks another payload: see [omniq.TaskQueue]. The envelope is made here of the one that is kept, which the server then
// changes if it is still that one.
func (b *Backend) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	if err := engine.CheckUpdates(updates); err != nil {
		return nil, err
	}
	var errs []error
	known := make(map[int]string) // the envelopes as they were read
	left := make([]int, len(updates))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		var list []fields
		var places []int
		taken := make(map[uuid.UUID]bool)
		var later []int
		for _, i := range left {
			u := &updates[i]
			if taken[u.ID] { // twice in the call: one after the other
				later = append(later, i)
				continue
			}
			taken[u.ID] = true
			f := fields{"id": key(u.ID), "status": int(u.Status), "want": u.Status.String(), "name": u.FuncName, "due": u.Due}
			if old, ok := known[i]; ok {
				changed, err := engine.Updated(bytesOf(old), u)
				if err != nil {
					errs = engine.Report(errs, len(updates), i, err)
					continue
				}
				f["old"], f["new"] = old, changed
			}
			list, places = append(list, f), append(places, i)
		}
		answer, err := b.run(ctx, "update", fields{"updates": list})
		if err != nil {
			return nil, err
		}
		told, err := answer.ToArray()
		if err != nil || len(told) != len(places) {
			return nil, errPacked
		}
		left = nil
		for k, i := range places {
			again, err := updated(told[k], &updates[i], known, i)
			if err != nil {
				errs = engine.Report(errs, len(updates), i, err)
			}
			if again {
				left = append(left, i)
			}
		}
		left = append(left, later...)
	}
	return errs, nil
}

// updated is what a script says of one update: again with the envelope that it has told, or what keeps it from being done.
func updated(m rueidis.RedisMessage, u *omniq.Update, known map[int]string, i int) (again bool, err error) {
	if m.IsNil() {
		return false, nil
	}
	why, err := m.ToArray()
	if err != nil || len(why) == 0 {
		return false, errPacked
	}
	word, _ := why[0].ToString()
	switch word {
	case "envelope":
		known[i], _ = why[1].ToString()
		return true, nil
	case "name":
		name, _ := why[1].ToString()
		return false, fmt.Errorf("%w: it is named %q, want %q", omniq.ErrState, name, u.FuncName)
	}
	return false, reasonOf(u.ID, word, why[1:])
}

// Pause keeps the tasks of a queue from being leased: see [omniq.TaskQueue].
func (b *Backend) Pause(ctx context.Context, queue string) error {
	return b.setPaused(ctx, "pause", queue)
}

// Resume lets the tasks of a queue be leased again: see [omniq.TaskQueue].
func (b *Backend) Resume(ctx context.Context, queue string) error {
	return b.setPaused(ctx, "resume", queue)
}

func (b *Backend) setPaused(ctx context.Context, script, queue string) error {
	if err := engine.CheckQueue(queue); err != nil {
		return err
	}
	_, err := b.run(ctx, script, fields{"queue": queueName(queue)})
	return err
}

// SetLimit bounds what runs of a queue: see [omniq.TaskQueue].
func (b *Backend) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if err := engine.CheckLimit(queue, limit); err != nil {
		return err
	}
	args := fields{"queue": queueName(queue), "cursor": "0"}
	if limit != (omniq.Limit{}) {
		every, burst := paceOf(limit.Rate)
		laneEvery, laneBurst := paceOf(limit.EachLane.Rate)
		args["limit"] = fields{
			"running": limit.Running, "every": every, "burst": burst, "lane_running": limit.EachLane.Running, "lane_every": laneEvery,
			"lane_burst": laneBurst, "rate": rateFields(limit.Rate), "lane_rate": rateFields(limit.EachLane.Rate),
		}
	}
	for {
		answer, err := b.run(ctx, "limit", args)
		if err != nil {
			return err
		}
		cursor, err := answer.ToString()
		if err != nil {
			return errPacked
		}
		if cursor == "0" {
			return nil
		}
		args["cursor"] = cursor
	}
}

// paceOf is a rate as scripts count it.
func paceOf(r omniq.Rate) (every, burst int64) {
	d, n := r.Every()
	if d == 0 {
		return 0, 0
	}
	return d.Microseconds(), int64(n)
}

func rateFields(r omniq.Rate) fields {
	return fields{"tasks": r.Tasks, "per": int64(r.Per), "burst": r.Burst}
}
