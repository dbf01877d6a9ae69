package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bench/engines"
)

// figures are what one round came to on one engine.
type figures struct {
	plain, chord, chords float64 // worked a second
	link50, link99       float64 // milliseconds
	many, graph          float64 // milliseconds
}

// measure takes each measurement once.
func (s settings) measure(ctx context.Context, e engines.Engine, round int) (f figures, err error) {
	on := func(name string, take func(b omniq.Backend) error) {
		if err == nil {
			err = e.On(ctx, fmt.Sprintf("%s_%d", name, round), take)
		}
	}
	chords := []struct {
		name   string
		n      int
		worked *float64
	}{{"plain", 0, &f.plain}, {"chord", 1, &f.chord}, {"chords", 200, &f.chords}}
	for i := range chords {
		c := chords[(i+round)%len(chords)]
		on(c.name, func(b omniq.Backend) (err error) {
			*c.worked, err = worked(ctx, b, s.members, c.n)
			return err
		})
	}
	on("chain", func(b omniq.Backend) (err error) {
		f.link50, f.link99, err = links(ctx, b, s.links)
		return err
	})
	on("enqueue", func(b omniq.Backend) (err error) {
		f.many, f.graph, err = enqueued(ctx, b, s.calls)
		return err
	})
	return f, err
}

// worked is how many of n tasks are leased and settled a second, for which so many others wait.
func worked(ctx context.Context, b omniq.Backend, n, chords int) (float64, error) {
	tasks := make([]*omniq.RawTask, n, n+chords)
	for i := range tasks {
		task, err := engines.NewTask()
		if err != nil {
			return 0, err
		}
		tasks[i] = task
	}
	step := 1000
	if chords > 0 {
		step = n + chords
		flow := uuid.New()
		for i := range chords {
			body, err := engines.NewTask()
			if err != nil {
				return 0, err
			}
			for k := i; k < n; k += chords {
				body.After = append(body.After, omniq.Dependency{ID: tasks[k].ID, Input: true})
			}
			tasks = append(tasks, body)
		}
		for _, t := range tasks {
			t.Flow = flow
		}
	}
	if err := engines.Enqueue(ctx, b, tasks, step); err != nil {
		return 0, err
	}
	took, err := engines.Work(ctx, b, len(tasks), func(omniq.Lease) bool { return true })
	return float64(len(tasks)) / took.Seconds(), err
}

// links are times from the end of one handler of a chain to the begin of the next, in milliseconds.
func links(ctx context.Context, b omniq.Backend, n int) (p50, p99 float64, err error) {
	var mu sync.Mutex
	var gaps []float64
	var ended time.Time
	link := omniq.DefineArgs("link", func(_ context.Context, a omniq.Args1[int]) (omniq.Args1[int], error) {
		mu.Lock()
		defer mu.Unlock()
		if !ended.IsZero() {
			gaps = append(gaps, float64(time.Since(ended).Microseconds())/1000)
		}
		defer func() { ended = time.Now() }()
		return omniq.MakeArgs1(a.V1 + 1), nil
	})
	client, err := omniq.NewClient(b)
	if err != nil {
		return 0, 0, err
	}
	worker, err := omniq.NewWorker(b, omniq.Handlers(link), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return 0, 0, err
	}
	working, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- worker.Run(working) }()
	defer func() {
		stop()
		err = errors.Join(err, <-stopped)
	}()
	p := link.With(omniq.MakeArgs1(0))
	for range n - 1 {
		p = link.On(p)
	}
	h, err := p.Enqueue(ctx, client)
	if err != nil {
		return 0, 0, err
	}
	if got, err := h.Wait(ctx); err != nil || got.V1 != n {
		return 0, 0, fmt.Errorf("a chain of %d links ends with %d: %w", n, got.V1, err)
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2], gaps[len(gaps)*99/100], nil
}

// enqueued are the times of EnqueueMany and of the Enqueue of a graph, of n calls each, in milliseconds: medians of nine in turns.
func enqueued(ctx context.Context, b omniq.Backend, n int) (many, graph float64, err error) {
	client, err := omniq.NewClient(b)
	if err != nil {
		return 0, 0, err
	}
	part := omniq.ReferArgs[omniq.Args1[int], int]("part")
	body := omniq.ReferArgs[[]int, int]("body")
	var manys, graphs []float64
	for range 9 {
		began := time.Now()
		tasks := make([]omniq.Task[omniq.Args1[int], omniq.NoKwargs], n)
		for i := range tasks {
			if tasks[i], err = part.Task(omniq.MakeArgs1(i)); err != nil {
				return 0, 0, err
			}
		}
		if _, err := part.EnqueueMany(ctx, client, tasks); err != nil {
			return 0, 0, err
		}
		manys = append(manys, float64(time.Since(began).Microseconds())/1000)

		began = time.Now()
		parts := make([]omniq.Promise[int], n-1)
		for i := range parts {
			parts[i] = part.With(omniq.MakeArgs1(i))
		}
		if _, err := body.On(omniq.All(parts...)).Enqueue(ctx, client); err != nil {
			return 0, 0, err
		}
		graphs = append(graphs, float64(time.Since(began).Microseconds())/1000)
	}
	return engines.Median(manys), engines.Median(graphs), nil
}
