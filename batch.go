package omniq

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// BatchSize is what [UpTo] returns.
type BatchSize struct {
	tasks int
	wait  time.Duration
}

// MaxBatch is how many tasks a batch may have.
const MaxBatch = 10_000

// UpTo is the size of a batch: its handler is called with at most n tasks, when so many have come or the first of them has waited for
// wait. n is 1 to [MaxBatch], wait at least 0.
func UpTo(n int, wait time.Duration) BatchSize { return BatchSize{n, wait} }

// Item is one task of a batch. Its handler gives it an end, by Succeed or Fail; the first end counts, and one after the handler has
// returned does not. All methods may be called from many goroutines at once.
type Item[A, R any] struct {
	Args A

	ctx     context.Context
	attempt *attempt
	ended   chan struct{} // closed after result or err is set

	mu     sync.Mutex
	over   bool
	result R
	err    error
}

// Context is that of the task alone: it ends with the task's timeout, when it is cancelled or its lease is lost, and when the worker
// stops. The batch goes on then. [InfoFrom] finds the task's [Info] in it, and what handlers leave beside their results, like
// [Progress], goes by it.
func (i *Item[A, R]) Context() context.Context { return i.ctx }

// Info is what is known of the task and its attempt.
func (i *Item[A, R]) Info() Info {
	info, _ := InfoFrom(i.ctx)
	return info
}

// Succeed ends the task with its result.
func (i *Item[A, R]) Succeed(result R) { i.end(result, nil) }

// Fail ends the attempt with what a handler of this task alone would return: an error, also one of [Permanent], [RetryAfter],
// [Snooze] or [Throttled]. Fail(nil) fails the task for good, with an error that says so.
func (i *Item[A, R]) Fail(err error) {
	if err == nil {
		err = Permanent(invalid("the batch's handler has called Fail with a nil error"))
	}
	var none R
	i.end(none, err)
}

func (i *Item[A, R]) end(result R, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.over {
		i.over, i.result, i.err = true, result, err
		close(i.ended)
	}
}

// DefineBatch is [DefineArgs] for a function that does many tasks at once: that inserts a hundred rows by one statement, say. Those
// who enqueue do not notice. Each task has its own result, error, attempts, timeout and cancellation; arguments that cannot be read
// fail their own task alone.
//
// The worker gathers tasks of this name as size says, and calls fn. What a batch waits for counts to the timeouts of its tasks. fn
// gives each item an end. When it returns an error or panics, that is the error of all items without an end. When it returns nil,
// these succeed if the task has no result, R being [Void]; otherwise they fail, because nobody knows what their results are.
//
// ctx ends when the contexts of all items have ended. A batch takes one place of the worker's [Concurrency], whatever its size, and a
// worker holds as many tasks more as its batches have; [QueueLimit] counts each of them. A task that was lost twice, because its
// worker died, is a batch of its own.
//
// It panics as [Define] does, and if the size is invalid.
func DefineBatch[A, R any, T string | ArgsReference[A, R]](target T, fn func(ctx context.Context, items []*Item[A, R]) error, size BatchSize, defaults ...TaskOption) ArgsDefinition[A, R] {
	ref := argsReferenceOf[A, R](target, defaults)
	name := ref.Name()
	if fn == nil {
		panic(fmt.Sprintf("omniq: task %q: its function is nil", name))
	}
	if size.tasks < 1 || size.tasks > MaxBatch || size.wait < 0 {
		panic(fmt.Sprintf("omniq: task %q: batches of up to %d tasks after %v, want 1 to %d, and at least 0", name, size.tasks, size.wait, MaxBatch))
	}
	d := DefineArgs(ref, func(ctx context.Context, args A) (R, error) {
		h, ok := ctx.Value(executionKey{}).(*execution)
		if !ok {
			var none R
			return none, invalid("the context of a task of the batch %q is not that of a worker: does a middleware replace it?", name)
		}
		g := h.worker.gatherer(name, func() flusher { return &gatherer[A, R]{fn: fn, size: size} }).(*gatherer[A, R])
		return g.join(ctx, h, args)
	})
	d.batch = true
	return d
}

// flusher is what gathers the tasks of a name, whatever their types.
type flusher interface{ flush() }

// gatherer returns the one of this name in this worker.
func (w *Worker) gatherer(name string, create func() flusher) flusher {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.gatherers[name]
	if !ok {
		g = create()
		w.gatherers[name] = g
		if w.flushed {
			g.flush()
		}
	}
	return g
}

// flush lets the batches begin that gather tasks: few more come.
func (w *Worker) flush() {
	w.mu.Lock()
	w.flushed = true
	var all []flusher
	for _, g := range w.gatherers {
		all = append(all, g)
	}
	w.mu.Unlock()
	for _, g := range all {
		g.flush()
	}
}

// gatherer gathers tasks of one name in one worker.
type gatherer[A, R any] struct {
	fn   func(context.Context, []*Item[A, R]) error
	size BatchSize

	mu      sync.Mutex
	open    *gathering[A, R] // nil for none
	flushed bool             // the worker stops: nothing waits for more
}

// gathering are tasks that will be one batch.
type gathering[A, R any] struct {
	crew  *crew
	most  int
	items []*Item[A, R]
	timer *time.Timer
	begun bool
}

// join makes a task one of a batch, and waits for its end.
func (g *gatherer[A, R]) join(ctx context.Context, h *execution, args A) (R, error) {
	item := &Item[A, R]{Args: args, ctx: ctx, attempt: h.attempt, ended: make(chan struct{})}
	b := g.add(item)
	select {
	case <-item.ended:
	case <-ctx.Done():
		if g.withdraw(b, item) {
			var none R
			return none, context.Cause(ctx)
		}
		<-item.ended // its handler has begun, as one of a task alone that does not heed its context
	}
	return item.result, item.err
}

// add makes an item one of the batch that gathers, or of a new one.
func (g *gatherer[A, R]) add(item *Item[A, R]) *gathering[A, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, most := g.open, g.size.tasks
	if g.flushed || item.attempt.lease.Lost >= maxTogether {
		b, most = nil, 1
	}
	crew := item.attempt.crew
	if b == nil {
		b = &gathering[A, R]{crew: crew, most: most}
		if most > 1 {
			g.open = b
			b.timer = time.AfterFunc(g.size.wait, func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.begin(b)
			})
		}
		crew.worker.gathers(most - 1)
	}
	b.items = append(b.items, item)
	crew.worker.joins(item.attempt)
	if len(b.items) == most {
		g.begin(b)
	}
	return b
}

// begin lets a batch begin, unless it has. The gatherer is locked.
func (g *gatherer[A, R]) begin(b *gathering[A, R]) {
	if b.begun {
		return
	}
	b.begun = true
	if g.open == b {
		g.open = nil
		b.timer.Stop()
	}
	w := b.crew.worker
	attempts := make([]*attempt, len(b.items))
	for i, item := range b.items {
		attempts[i] = item.attempt
	}
	w.begins(attempts, b.most)
	b.crew.all.Go(func() {
		defer w.unreserve(1)
		if len(b.items) == 0 {
			return
		}
		w.waits(1)
		w.slots <- struct{}{}
		w.waits(-1)
		w.handles(1)
		defer func() {
			w.handles(-1)
			<-w.slots
		}()
		g.run(b.items)
	})
}

func (g *gatherer[A, R]) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flushed = true
	if g.open != nil {
		g.begin(g.open)
	}
}

// withdraw takes an item out of a batch that has not begun.
func (g *gatherer[A, R]) withdraw(b *gathering[A, R], item *Item[A, R]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.begun {
		return false
	}
	i := slices.Index(b.items, item)
	b.items = slices.Delete(b.items, i, i+1)
	b.crew.worker.leaves()
	return true
}

// gathers is told that a batch waits for n tasks more, which have places beside those of handlers meanwhile.
func (w *Worker) gathers(n int) {
	w.mu.Lock()
	w.extra += n
	w.mu.Unlock()
	w.unreserve(n)
}

// joins is told that an attempt has become part of a batch, and another goroutine runs the next one.
func (w *Worker) joins(a *attempt) {
	w.mu.Lock()
	a.joined = true
	w.handling--
	w.gathering++
	w.mu.Unlock()
	a.crew.hire()
}

// leaves is told that an attempt has left its batch before that began.
func (w *Worker) leaves() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gathering--
}

// begins is told that a batch begins that could have had most tasks. Its tasks give their places back, and it has one.
func (w *Worker) begins(attempts []*attempt, most int) {
	w.mu.Lock()
	for _, a := range attempts {
		a.vacated = true
	}
	w.gathering -= len(attempts)
	w.extra -= most - 1
	w.free += len(attempts) - most
	w.mu.Unlock()
	w.wakeReserve()
}

// waits is told that n batches more wait for a slot.
func (w *Worker) waits(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocked += n
}

// handles is told that n batches more run.
func (w *Worker) handles(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handling += n
}

// run calls the handler, and ends what it has left without an end.
func (g *gatherer[A, R]) run(items []*Item[A, R]) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(items[0].ctx))
	defer cancel(nil)
	left := len(items)
	var mu sync.Mutex
	for _, i := range items {
		stop := context.AfterFunc(i.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel(context.Cause(i.ctx))
			}
		})
		defer stop()
	}
	var err error = &TaskError{Type: typePanic, Message: "the handler ended its goroutine", Retryable: true}
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
		var result R
		if _, void := any(result).(Void); err == nil && !void {
			err = &TaskError{Type: typeBatch, Message: "the handler of the batch has returned without an end of this task", Retryable: true}
		}
		for _, i := range items {
			i.end(result, err)
		}
	}()
	err = g.fn(batchContext{ctx}, slices.Clone(items))
}

// batchContext is that of a batch: it is of no task of it.
type batchContext struct{ context.Context }

func (c batchContext) Value(key any) any {
	if key == (infoKey{}) || key == (executionKey{}) {
		return nil
	}
	return c.Context.Value(key)
}
