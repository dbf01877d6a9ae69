package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// history is what was done in the minutes before now, and in this one.
type history struct {
	minutes []*minute // the newest last
	places  engine.Places
	ends    time.Time // when the last one does
}

// minute is what was done in a minute.
type minute struct {
	start   time.Time
	tallies map[engine.Place]*tally
}

// tally is what was done in a minute with the tasks of a queue that call a function.
type tally struct {
	omniq.Minute
	of *minute
}

// tally returns what is counted of a task now. One of a queue is looked up once for many tasks.
func (b *Backend) tally(e *entry, now time.Time) *tally {
	h := &b.history
	if !now.Before(h.ends) {
		h.turn(now)
	}
	m := h.minutes[len(h.minutes)-1]
	if last := e.queue.tally; last != nil && last.of == m && last.FuncName == e.name {
		return last
	}
	place := h.places.Of(m.start.UnixMicro(), engine.Place{Queue: e.queue.name, Name: e.name})
	t, ok := m.tallies[place]
	if !ok {
		t = &tally{omniq.Minute{Start: m.start, Queue: place.Queue, FuncName: place.Name}, m}
		m.tallies[place] = t
	}
	e.queue.tally = t
	return t
}

// turn begins another minute, and forgets those that are too old.
func (h *history) turn(now time.Time) {
	start := now.UTC().Truncate(time.Minute)
	h.ends = now.Add(start.Add(time.Minute).Sub(now))
	from := now.Add(-omniq.HistoryKept)
	h.minutes = slices.DeleteFunc(h.minutes, func(m *minute) bool { return !m.start.Add(time.Minute).After(from) })
	h.minutes = append(h.minutes, &minute{start, make(map[engine.Place]*tally)})
}

// History tells what was done with tasks: see [omniq.Monitor]. It never blocks.
func (b *Backend) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	if err := engine.CheckHistory(last); err != nil {
		return nil, err
	}
	list, err := b.past(ctx, last)
	slices.SortFunc(list, func(a, b omniq.Minute) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		if c := strings.Compare(a.Queue, b.Queue); c != 0 {
			return c
		}
		return strings.Compare(a.FuncName, b.FuncName)
	})
	return list, err
}

// past returns what was done, in no order.
func (b *Backend) past(ctx context.Context, last time.Duration) (list []omniq.Minute, err error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	from := time.UnixMicro(engine.HistoryFrom(now.UnixMicro(), last))
	for _, m := range b.history.minutes {
		if !m.start.Add(time.Minute).After(from) {
			continue
		}
		for _, t := range m.tallies {
			list = append(list, t.Minute)
		}
	}
	return list, nil
}
