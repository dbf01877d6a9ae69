package redis

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Beat notes that a worker is there: see [omniq.Monitor].
func (b *Backend) Beat(ctx context.Context, w omniq.WorkerInfo) error {
	if err := engine.CheckBeat(&w); err != nil {
		return err
	}
	w.Started, w.Seen = time.Time{}, time.Time{}
	text, err := json.Marshal(w)
	if err != nil {
		return invalid("worker %q: %v", w.ID, err)
	}
	_, err = b.run(ctx, "beat", fields{"id": w.ID, "lease": microseconds(w.Lease), "json": text})
	return err
}

// Workers returns the workers that are there: see [omniq.Monitor].
func (b *Backend) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) {
	answer, err := b.run(ctx, "workers", fields{})
	if err != nil {
		return nil, err
	}
	found, err := answer.ToArray()
	if err != nil {
		return nil, errPacked
	}
	var list []omniq.WorkerInfo
	for i := range found {
		v := texts(found[i])
		if len(v) != 2 {
			return nil, errPacked
		}
		f, err := decodeFields(v[1])
		if err != nil {
			f = fields{} // it is shown all the same
		}
		list = append(list, engine.Worker(v[0], moment(f.int("seen")), f.text("json")))
	}
	slices.SortFunc(list, func(a, b omniq.WorkerInfo) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// History tells what was done with tasks: see [omniq.Monitor]. It asks the server for an hour at a time.
func (b *Backend) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	if err := engine.CheckHistory(last); err != nil {
		return nil, err
	}
	args := fields{"last": min(last, omniq.HistoryKept).Microseconds()}
	var list []omniq.Minute
	for {
		answer, err := b.run(ctx, "history", args)
		if err != nil {
			return nil, err
		}
		parts, err := answer.ToArray()
		if err != nil || len(parts) != 2 {
			return nil, errPacked
		}
		minutes, err := parts[1].ToArray()
		if err != nil {
			return nil, errPacked
		}
		for i := range minutes {
			if list, err = appendMinute(list, minutes[i]); err != nil {
				return nil, err
			}
		}
		next, _ := parts[0].AsInt64()
		if next < 0 {
			break
		}
		args["minute"] = next
	}
	slices.SortFunc(list, func(a, b omniq.Minute) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		if c := strings.Compare(a.Queue, b.Queue); c != 0 {
			return c
		}
		return strings.Compare(a.FuncName, b.FuncName)
	})
	return list, nil
}

// The places of the times in what is counted: those before are by types of events.
const (
	countWaited = 7
	countRan    = 8
	countAll    = 9
)

// appendMinute adds what was done in a minute.
func appendMinute(list []omniq.Minute, m rueidis.RedisMessage) ([]omniq.Minute, error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return nil, errPacked
	}
	start, _ := parts[0].AsInt64()
	places := texts(parts[1])
	for i := 0; i+1 < len(places); i += 2 {
		p := packed{s: places[i+1]}
		counts, ok := p.value().([]any)
		if !ok || len(counts) != countAll {
			return nil, errPacked
		}
		number := func(i int) int64 { n, _ := counts[i].(int64); return n }
		queue, name, _ := strings.Cut(places[i], "\x00")
		minute := omniq.Minute{Start: moment(start * 60_000_000), Queue: queue, FuncName: name}
		for _, what := range omniq.EventTypes() {
			if int(what) <= countWaited {
				engine.Add(&minute, what, int(number(int(what)-1)))
			}
		}
		minute.Wait, minute.Run = engine.Spent(number(countWaited)), engine.Spent(number(countRan))
		list = append(list, minute)
	}
	return list, nil
}
