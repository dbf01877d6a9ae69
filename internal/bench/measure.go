package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// figure is one of the things that are measured: a column of a table.
type figure string

// Rates are in tasks a second, latencies in milliseconds, CPUs while idle in milliseconds a second.
const (
	enqueueAlone   figure = "enqueue, 1 goroutine"
	enqueueShared  figure = "enqueue, 64 goroutines"
	burnDown       figure = "burn-down"
	enqueueLatency figure = "enqueue call"
	startLatency   figure = "call to start"
	pickUpLatency  figure = "enqueued to start"
	resultLatency  figure = "call to result"
	batches        figure = "lease and settle, 4 × 100"
	idleWorker     figure = "worker"
	idleServer     figure = "server"
)

// percentile returns the figure of a percentile of f.
func (f figure) percentile(p int) figure { return figure(fmt.Sprintf("%s, p%d", f, p)) }

// sample is what one measurement came to.
type sample struct {
	values map[figure]float64
	cut    bool   // it ended early, by its limit
	note   string // what to know about it, if anything
}

// measurement takes one sample of a system on a new place.
type measurement struct {
	name string
	take func(ctx context.Context, s settings, sys system, place string) (sample, error)
}

var (
	enqueueOne = measurement{"enqueue1", func(ctx context.Context, s settings, sys system, place string) (sample, error) {
		return measureEnqueue(ctx, s, sys, place, 1, enqueueAlone)
	}}
	enqueueMany = measurement{"enqueue64", func(ctx context.Context, s settings, sys system, place string) (sample, error) {
		return measureEnqueue(ctx, s, sys, place, 64, enqueueShared)
	}}
	burnDownAll   = measurement{"burndown", measureBurnDown}
	batchesByFour = measurement{"batches", measureBatches}
	latencies     = measurement{"latency", measureLatency}
	idleness      = measurement{"idle", measureIdleness}
)

// measureAll is one round.
func measureAll(ctx context.Context, s settings, round int, t *table, progress io.Writer) error {
	for _, m := range s.engine.measurements {
		for i := range s.systems {
			sys := s.systems[(i+round)%len(s.systems)]
			if sys.burnsOnly && m.name != burnDownAll.name {
				continue
			}
			runtime.GC() // the garbage of one system is not to be the next one's work
			place := s.engine.place(s, fmt.Sprintf("%s-%s-%d", sys.name, m.name, round))
			began := time.Now()
			got, err := m.take(ctx, s, sys, place)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", sys.name, m.name, err)
			}
			t.add(sys, got)
			fmt.Fprintf(progress, "round %d: %s: %s: %.1f s\n", round+1, m.name, sys.name, time.Since(began).Seconds())
		}
	}
	return ctx.Err()
}

// measureEnqueue takes the rate of n goroutines that enqueue.
func measureEnqueue(ctx context.Context, s settings, sys system, place string, goroutines int, f figure) (got sample, err error) {
	q, err := sys.open(ctx, s.opening(place, func(int) {}))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	if sys.bulk {
		began := time.Now()
		err := q.fill(ctx, s.tasks)
		return sample{values: map[figure]float64{f: perSecond(s.tasks, time.Since(began))}}, err
	}
	var next, done atomic.Int64
	var failed failures
	var producers sync.WaitGroup
	enqueue := func(n int) {
		if err := q.enqueue(ctx, n); err != nil {
			failed.add(err)
		} else {
			done.Add(1)
		}
	}
	for n := range goroutines { // tasks that are not counted: connections are opened, statements are prepared
		producers.Go(func() { enqueue(n) })
	}
	producers.Wait()
	done.Store(0)

	began := time.Now()
	deadline := began.Add(s.enqueueLimit)
	for range goroutines {
		producers.Go(func() {
			for n := int(next.Add(1)) - 1; n < s.tasks && time.Now().Before(deadline); n = int(next.Add(1)) - 1 {
				enqueue(n)
			}
		})
	}
	producers.Wait()
	took := time.Since(began)
	got.values = map[figure]float64{f: perSecond(int(done.Load()), took)}
	got.cut = int(next.Load()) < s.tasks
	got.note = failed.note(string(f))
	return got, nil
}

// failures counts calls that have failed. They do not end the measurement: that a database is locked, say, is what a
// program has to expect of a system that is set up so.
type failures struct {
	mu    sync.Mutex
	n     int
	first error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n == 1 {
		f.first = err
	}
}

// note tells of the failures, if there were any. It is called when all calls have returned.
func (f *failures) note(what string) string {
	if f.n == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d calls have failed, first: %v", what, f.n, f.first)
}

// measureBurnDown takes the rate at which queued tasks are run.
func measureBurnDown(ctx context.Context, s settings, sys system, place string) (got sample, err error) {
	seen := make([]atomic.Bool, s.tasks)
	var ran, again atomic.Int64
	all := make(chan struct{})
	q, err := sys.open(ctx, s.opening(place, func(n int) {
		switch {
		case seen[n].Swap(true):
			again.Add(1)
		case int(ran.Add(1)) == s.tasks:
			close(all)
		}
	}))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	if err := q.fill(ctx, s.tasks); err != nil {
		return got, err
	}

	began := time.Now()
	if err := q.start(ctx); err != nil {
		return got, err
	}
	got.cut = !within(ctx, all, s.burnLimit)
	n, took := int(ran.Load()), time.Since(began)
	r, records := q.(recorder)
	if records && !got.cut {
		if err := r.recorded(ctx); err != nil {
			return got, err
		}
		took = time.Since(began)
	}
	if err := q.stop(ctx); err != nil {
		return got, err
	}
	if !got.cut {
		if !records {
			took = time.Since(began)
		}
		left, err := q.left(ctx)
		if err != nil {
			return got, err
		}
		if left > 0 {
			return got, fmt.Errorf("%d of %d tasks are not finished, though all have run", left, s.tasks)
		}
	}
	if extra := again.Load(); extra > 0 {
		got.note = fmt.Sprintf("burn-down ran tasks again: %d times", extra)
	}
	got.values = map[figure]float64{burnDown: perSecond(n, took)}
	return got, nil
}

// measureBatches takes the rate at which 4 goroutines lease and settle 100 tasks at a time, where that can be done by hand.
func measureBatches(ctx context.Context, s settings, sys system, place string) (got sample, err error) {
	if !sys.byHand {
		return got, nil
	}
	q, err := sys.open(ctx, s.opening(place, func(int) {}))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	if err := q.fill(ctx, s.tasks); err != nil {
		return got, err
	}
	var drains sync.WaitGroup
	var settled [4]int
	var errs [4]error
	began := time.Now()
	for i := range settled {
		drains.Go(func() { settled[i], errs[i] = q.(batcher).drain(ctx, 100) })
	}
	drains.Wait()
	took := time.Since(began)
	n := 0
	for _, each := range settled {
		n += each
	}
	if err := errors.Join(errs[:]...); err != nil || n != s.tasks {
		return got, fmt.Errorf("%d of %d tasks were settled: %w", n, s.tasks, err)
	}
	return sample{values: map[figure]float64{batches: perSecond(n, took)}}, nil
}

// measureLatency takes the latencies of tasks that come at a fixed rate.
func measureLatency(ctx context.Context, s settings, sys system, place string) (got sample, err error) {
	if sys.bulk {
		return got, nil
	}
	warm := s.rate / 5 // tasks that are not counted: statements are prepared, pools are filled
	tasks := warm + int(s.latencyTime.Seconds()*float64(s.rate))
	times := make([]taskTimes, tasks)
	var ran atomic.Int64
	all := make(chan struct{})
	q, err := sys.open(ctx, s.opening(place, func(n int) {
		if times[n].started.CompareAndSwap(0, time.Now().UnixNano()) && int(ran.Add(1)) == tasks {
			close(all)
		}
	}))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	if err := q.start(ctx); err != nil {
		return got, err
	}
	got.note = enqueueAtRate(ctx, q, times, time.Second/time.Duration(s.rate), s.burnLimit)
	if got.note == "" && !within(ctx, all, s.burnLimit) {
		got.note = fmt.Sprintf("latency: only %d of %d tasks have been started", ran.Load(), tasks)
	}
	if err := q.stop(ctx); err != nil {
		return got, err
	}
	got.values = percentiles(times[warm:])
	return got, nil
}

// measureIdleness takes what a worker that has nothing to do costs this process and the server.
func measureIdleness(ctx context.Context, s settings, sys system, place string) (got sample, err error) {
	if sys.bulk {
		return got, nil
	}
	q, err := sys.open(ctx, s.opening(place, func(int) {}))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	if err := q.start(ctx); err != nil {
		return got, err
	}
	within(ctx, nil, s.latencyTime/3) // what it does to begin with
	used := func() (own, server time.Duration, err error) {
		if server, err = s.engine.cpu(ctx, s.url); err == nil {
			own, err = ownCPU()
		}
		return own, server, err
	}
	began := time.Now()
	ownBefore, serverBefore, err := used()
	if err != nil {
		return got, errors.Join(err, q.stop(ctx))
	}
	within(ctx, nil, s.latencyTime)
	own, server, err := used()
	seconds := time.Since(began).Seconds()
	if err := errors.Join(err, q.stop(ctx)); err != nil {
		return got, err
	}
	perSecond := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / seconds }
	return sample{values: map[figure]float64{idleWorker: perSecond(own - ownBefore), idleServer: perSecond(server - serverBefore)}}, nil
}

// taskTimes are the moments of one task, in nanoseconds; 0 is one that has not come.
type taskTimes struct {
	called   int64
	enqueued int64
	started  atomic.Int64
	result   int64
}

// enqueueAtRate enqueues a task each interval, and waits for results where there are such, for at most limit after the
// last. It returns a note of calls that have failed.
func enqueueAtRate(ctx context.Context, q queue, times []taskTimes, interval, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(times))*interval+limit)
	defer cancel()
	var failed failures
	var producers sync.WaitGroup
	began := time.Now()
	for n := range times {
		time.Sleep(time.Until(began.Add(time.Duration(n) * interval)))
		producers.Go(func() {
			t := &times[n]
			enqueued := func() { t.enqueued = time.Now().UnixNano() }
			t.called = time.Now().UnixNano()
			var err error
			if w, ok := q.(waiter); ok {
				if err = w.enqueueAndWait(ctx, n, enqueued); err == nil {
					t.result = time.Now().UnixNano()
				}
			} else if err = q.enqueue(ctx, n); err == nil {
				enqueued()
			}
			if err != nil {
				failed.add(err)
			}
		})
	}
	producers.Wait()
	return failed.note("latency")
}

// percentiles sums up the latencies of tasks.
func percentiles(times []taskTimes) map[figure]float64 {
	latencies := make(map[figure][]float64)
	add := func(f figure, from, to int64) {
		if from != 0 && to != 0 {
			latencies[f] = append(latencies[f], max(0, float64(to-from)/1e6))
		}
	}
	for i := range times {
		t := &times[i]
		started := t.started.Load()
		add(enqueueLatency, t.called, t.enqueued)
		add(startLatency, t.called, started)
		add(pickUpLatency, t.enqueued, started)
		add(resultLatency, t.called, t.result)
	}
	values := make(map[figure]float64)
	for f, l := range latencies {
		slices.Sort(l)
		for _, p := range []int{50, 99} {
			values[f.percentile(p)] = l[(len(l)*p+99)/100-1]
		}
	}
	return values
}

// within reports whether done is closed before limit has passed and ctx has ended.
func within(ctx context.Context, done <-chan struct{}, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

func perSecond(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }
