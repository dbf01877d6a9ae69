package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// hinge is a backend that can be in trouble.
type hinge struct {
	omniq.Backend

	mu      sync.Mutex
	trouble func(ctx context.Context) error // instead of each call; nil for none
	lost    bool                            // the calls are made nevertheless
}

// set puts the backend into trouble, or ends that.
func (h *hinge) set(trouble func(context.Context) error, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble, h.lost = trouble, lost
}

func (h *hinge) state() (func(context.Context) error, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trouble, h.lost
}

// silence is a trouble in which no call is answered.
func silence(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

var errTrouble = errors.New("the disk is on fire")

func onFire(context.Context) error { return errTrouble }

// through makes a call of the backend, unless that is in trouble.
func through[T any](ctx context.Context, h *hinge, call func() (T, error)) (T, error) {
	trouble, lost := h.state()
	if trouble == nil {
		return call()
	}
	if lost {
		_, _ = call()
	}
	var none T
	return none, trouble(ctx)
}

func (h *hinge) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Enqueue(ctx, tasks) })
}

func (h *hinge) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	return through(ctx, h, func() ([]omniq.Lease, error) { return h.Backend.Lease(ctx, r) })
}

func (h *hinge) Settle(ctx context.Context, s []omniq.Settlement) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Settle(ctx, s) })
}

func (h *hinge) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return through(ctx, h, func() (*omniq.RawResult, error) { return h.Backend.Result(ctx, id) })
}

func (h *hinge) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return through(ctx, h, func() (*omniq.RawResult, error) { return h.Backend.Await(ctx, id) })
}

func (h *hinge) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	return through(ctx, h, func() (*omniq.TaskInfo, error) { return h.Backend.Inspect(ctx, id) })
}

func (h *hinge) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	return through(ctx, h, func() (omniq.StreamPage, error) { return h.Backend.Stream(ctx, r) })
}

func (h *hinge) FlowStats(ctx context.Context, id uuid.UUID) (omniq.FlowStats, error) {
	return through(ctx, h, func() (omniq.FlowStats, error) { return h.Backend.FlowStats(ctx, id) })
}

func (h *hinge) CancelFlow(ctx context.Context, id uuid.UUID) (int, error) {
	return through(ctx, h, func() (int, error) { return h.Backend.CancelFlow(ctx, id) })
}

func (h *hinge) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Cancel(ctx, ids) })
}

func (h *hinge) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Requeue(ctx, ids, follow) })
}

func (h *hinge) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.RunNow(ctx, ids) })
}

func (h *hinge) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Forget(ctx, ids) })
}

func (h *hinge) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	return through(ctx, h, func() ([]error, error) { return h.Backend.Free(ctx, keys) })
}

func (h *hinge) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	return through(ctx, h, func() ([]omniq.QueueStats, error) { return h.Backend.Stats(ctx) })
}

func (h *hinge) List(ctx context.Context, r omniq.ListRequest) (page []*omniq.TaskInfo, next string, err error) {
	_, err = through(ctx, h, func() (any, error) {
		page, next, err = h.Backend.List(ctx, r)
		return nil, err
	})
	return page, next, err
}

// byPrefix is a rule by which the name of a queue begins with that of its backend.
func byPrefix(queue string) string {
	name, _, _ := strings.Cut(queue, "-")
	if queue == omniq.DefaultQueue {
		return "one"
	}
	return name
}

// pair is a route over two backends.
type pair struct {
	omniq.Backend
	one, two *hinge
	log      logbook
	client   *omniq.Client
}

func newPair(t testing.TB, opts ...memory.Option) *pair {
	t.Helper()
	p := &pair{one: &hinge{Backend: memory.New(opts...)}, two: &hinge{Backend: memory.New(opts...)}}
	var err error
	p.Backend, err = omniq.Route(map[string]omniq.Backend{"one": p.one, "two": p.two}, byPrefix,
		omniq.Logger(slog.New(slog.NewTextHandler(&p.log, nil))))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	p.client = newClient(t, p.Backend)
	return p
}

// task returns a task in a queue.
func (p *pair) task(queue string, change ...func(*omniq.RawTask)) *omniq.RawTask {
	t := rawTask()
	t.Queue = queue
	for _, f := range change {
		f(&t)
	}
	return &t
}

// put stores tasks.
func (p *pair) put(t testing.TB, tasks ...*omniq.RawTask) {
	t.Helper()
	errs, err := p.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Empty(t, errs)
}

// has reports whether a backend has a task.
func (h *hinge) has(t testing.TB, task *omniq.RawTask) bool {
	t.Helper()
	_, err := h.Backend.Result(t.Context(), task.ID)
	if !errors.Is(err, omniq.ErrNotFound) {
		require.NoError(t, err)
	}
	return err == nil
}

func TestRouteRefuses(t *testing.T) {
	m := memory.New()
	one := map[string]omniq.Backend{"one": m}
	rule := omniq.ByHash("one")
	for name, tt := range map[string]struct {
		backends map[string]omniq.Backend
		rule     omniq.RouteRule
		opts     []omniq.RouteOption
		want     string
	}{
		"no backend":       {nil, rule, nil, "without a backend"},
		"a nil backend":    {map[string]omniq.Backend{"one": nil}, rule, nil, `"one" is nil`},
		"no rule":          {one, nil, nil, "without a rule"},
		"no former rule":   {one, rule, []omniq.RouteOption{omniq.Moving(nil)}, "without a rule"},
		"no logger":        {one, rule, []omniq.RouteOption{omniq.Logger(nil)}, "nil logger"},
		"an empty name":    {map[string]omniq.Backend{"": m}, rule, nil, "named"},
		"a colon":          {map[string]omniq.Backend{"a:b": m}, rule, nil, "named"},
		"a long name":      {map[string]omniq.Backend{strings.Repeat("x", 41): m}, rule, nil, "named"},
		"one of two names": {map[string]omniq.Backend{"a": m, "b": m}, rule, nil, `"a" and "b" are the same`},
	} {
		b, err := omniq.Route(tt.backends, tt.rule, tt.opts...)
		require.ErrorIs(t, err, omniq.ErrInvalid, name)
		require.ErrorContains(t, err, tt.want, name)
		assert.Nil(t, b, name)
	}
}

// A rule that names a backend which there is not is an error of what needs the queue, and of nothing else.
func TestRouteByAWrongRule(t *testing.T) {
	p := newPair(t)
	ctx, lost := t.Context(), p.task("three-x")
	_, enqueueErr := p.Enqueue(ctx, []*omniq.RawTask{p.task("one-a"), lost})
	_, leaseErr := p.Lease(ctx, omniq.LeaseRequest{Queues: []string{"one-a", "three-x"}, Max: 1, Duration: time.Minute})
	_, _, listErr := p.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Queue: "three-x", Max: 1})
	for _, err := range []error{
		enqueueErr, leaseErr, listErr, p.client.Enqueue(ctx, *lost), p.Pause(ctx, "three-x"), p.SetLimit(ctx, "three-x", omniq.Limit{}),
		p.Beat(ctx, omniq.WorkerInfo{ID: "w", Queues: []string{"three-x"}}),
	} {
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, `queue "three-x" lives in backend "three", want one of ["one" "two"]`)
	}
	stats, err := p.Stats(ctx)
	require.NoError(t, err)
	assert.Empty(t, stats, "nothing was stored")
}

func TestByHash(t *testing.T) {
	rule, shuffled, fewer := omniq.ByHash("a", "b", "c"), omniq.ByHash("c", "a", "b"), omniq.ByHash("a", "c")
	share := map[string]int{}
	for i := range 9000 {
		queue := fmt.Sprint("q", i)
		name := rule(queue)
		share[name]++
		require.Equal(t, name, shuffled(queue))
		if name != "b" {
			require.Equal(t, name, fewer(queue), "it stays where it is")
		}
	}
	for name, n := range share {
		assert.InDelta(t, 3000, n, 250, name)
	}
	assert.Len(t, share, 3)
	assert.Empty(t, omniq.ByHash()("x"))
}

func TestRouteHasTheWeakestCapabilities(t *testing.T) {
	able := omniq.Capabilities{
		Name: "b", Durable: true, Survives: omniq.SurvivesPower, Shared: true, Fencing: true, AtomicFinish: true, Priorities: true, PushLease: true,
		PushResult: true, PushCancel: true, Transactions: true, Flows: true, Notes: true, Replaces: true, Limits: true, Events: true,
		AtomicEvents: true, MaxTaskSize: 100,
	}
	route := func(caps ...omniq.Capabilities) omniq.Capabilities {
		backends := map[string]omniq.Backend{}
		for i, c := range caps {
			backends[fmt.Sprint(i)] = modest{memory.New(), func(own *omniq.Capabilities) { *own = c }}
		}
		b, err := omniq.Route(backends, omniq.ByHash("0"))
		require.NoError(t, err)
		require.NotImplements(t, (*omniq.Transactor)(nil), b)
		return b.Capabilities()
	}
	want := able
	want.Name, want.Transactions = "route:b", false
	assert.Equal(t, want, route(able))
	want.Spread = true
	assert.Equal(t, want, route(able, able))
	assert.Equal(t, omniq.Capabilities{Name: "route:a+b", Spread: true, MaxTaskSize: 100}, route(able, omniq.Capabilities{Name: "a"}))
	more := able
	more.MaxTaskSize = 200
	assert.Equal(t, want, route(more, able))
}

// What is in one backend is found by its ID, whatever the other one does. That there is no such task needs both.
func TestRouteByID(t *testing.T) {
	item := func(errs []error, err error) error {
		if err == nil && len(errs) > 0 {
			return errs[0]
		}
		return err
	}
	calls := map[string]func(context.Context, *pair, uuid.UUID) error{
		"Result": func(ctx context.Context, p *pair, id uuid.UUID) error { _, err := p.Result(ctx, id); return err },
		"Await":  func(ctx context.Context, p *pair, id uuid.UUID) error { _, err := p.Await(ctx, id); return err },
		"Inspect": func(ctx context.Context, p *pair, id uuid.UUID) error {
			_, err := p.Inspect(ctx, id)
			return err
		},
		"Stream": func(ctx context.Context, p *pair, id uuid.UUID) error {
			_, err := p.Stream(ctx, omniq.StreamRequest{TaskID: id, Name: "s", Max: 1})
			return err
		},
		"FlowStats":  func(ctx context.Context, p *pair, id uuid.UUID) error { _, err := p.FlowStats(ctx, id); return err },
		"CancelFlow": func(ctx context.Context, p *pair, id uuid.UUID) error { _, err := p.CancelFlow(ctx, id); return err },
		"Requeue": func(ctx context.Context, p *pair, id uuid.UUID) error {
			return item(p.Requeue(ctx, []uuid.UUID{id}, true))
		},
		"Forget": func(ctx context.Context, p *pair, id uuid.UUID) error { return item(p.Forget(ctx, []uuid.UUID{id})) },
	}
	for name, trouble := range map[string]func(context.Context) error{"fails": onFire, "is silent": silence} {
		for method, call := range calls {
			bubble.Test(t, func(t *testing.T) {
				p := newPair(t)
				id := uuid.New()
				task := p.task("two-x", func(task *omniq.RawTask) { task.ID, task.Flow = id, id })
				p.put(t, task)
				_, err := p.Cancel(t.Context(), []uuid.UUID{id})
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				require.ErrorIs(t, call(ctx, p, uuid.New()), omniq.ErrNotFound, method)
				p.one.set(trouble, false)
				began := time.Now()
				require.NoError(t, call(ctx, p, id), "%s while the other backend %s", method, name)
				assert.Zero(t, time.Since(began))
				err = call(ctx, p, uuid.New())
				require.NotErrorIs(t, err, omniq.ErrNotFound, method)
				if name == "fails" {
					require.ErrorIs(t, err, errTrouble)
					require.ErrorContains(t, err, `backend "one": `)
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				p.one.set(nil, false)
			})
		}
	}
}

// Each of several tasks counts for itself: those of the backend that works are done, the others have the error of the other one.
func TestRouteBulkInTrouble(t *testing.T) {
	p := newPair(t)
	one, two := p.task("one-x"), p.task("two-x")
	p.put(t, one, two)
	p.two.set(onFire, false)
	err := p.client.Cancel(t.Context(), one.ID, two.ID)
	bulk, ok := errors.AsType[*omniq.BulkError](err)
	require.True(t, ok, err)
	require.Len(t, bulk.Refused, 1)
	assert.Equal(t, two.ID, bulk.Refused[0].ID)
	require.ErrorIs(t, bulk.Refused[0].Err, errTrouble)
	_, err = p.Cancel(t.Context(), []uuid.UUID{two.ID, uuid.New()})
	require.ErrorIs(t, err, errTrouble, "nothing was done")
	p.two.set(nil, false)
	errs, err := p.Cancel(t.Context(), []uuid.UUID{uuid.New(), one.ID, two.ID})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrNotFound)
	assert.Equal(t, []error{nil, nil}, errs[1:])
}

// A key may be held in both backends, and is free when both have said so.
func TestRouteFree(t *testing.T) {
	p := newPair(t)
	key := []omniq.UniqueKey{{FuncName: "f", Key: "k"}}
	keyed := func(t *omniq.RawTask) { t.FuncName, t.UniqueKey = "f", "k" }
	p.put(t, p.task("one-x", keyed), p.task("two-x", keyed))
	p.two.set(onFire, false)
	errs, err := p.Free(t.Context(), key)
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], errTrouble)
	p.two.set(nil, false)
	for _, want := range []error{nil, omniq.ErrNotFound} {
		errs, err = p.Free(t.Context(), key)
		require.NoError(t, err)
		if want == nil {
			assert.Empty(t, errs)
		} else {
			require.ErrorIs(t, errs[0], want)
		}
	}
}

// An enqueue in two backends of which one fails says which tasks are not stored.
func TestRouteEnqueueInTrouble(t *testing.T) {
	p := newPair(t)
	tasks := []*omniq.RawTask{p.task("one-x"), p.task("two-x"), p.task("one-y"), p.task("two-y")}
	raw := make([]omniq.RawTask, len(tasks))
	for i, task := range tasks {
		raw[i] = *task
	}
	p.two.set(onFire, false)
	err := p.client.Enqueue(t.Context(), raw...)
	bulk, ok := errors.AsType[*omniq.BulkError](err)
	require.True(t, ok, err)
	require.ErrorIs(t, err, errTrouble)
	require.ErrorContains(t, err, `omniq: enqueue task `+tasks[1].ID.String()+`: backend "two": `)
	assert.Equal(t, []uuid.UUID{tasks[1].ID, tasks[3].ID}, []uuid.UUID{bulk.Refused[0].ID, bulk.Refused[1].ID})
	for i, task := range tasks {
		assert.Equal(t, i%2 == 0, p.one.has(t, task))
		assert.False(t, p.two.has(t, task))
	}
	p.one.set(onFire, false)
	_, err = p.Enqueue(t.Context(), tasks)
	require.ErrorIs(t, err, errTrouble, "nothing was stored")

	p.one.set(nil, false)
	p.two.set(nil, false)
	err = p.client.Enqueue(t.Context(), raw...)
	taken, ok := errors.AsType[*omniq.DuplicateError](err)
	require.True(t, ok, err)
	assert.Len(t, taken.Duplicates, 2, "those that were stored; the others are now")
	assert.True(t, p.two.has(t, tasks[3]))
}

// A client enqueues again in the backend whose answer was lost, and there alone.
func TestRouteEnqueueWhoseAnswerIsLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		n := 0
		p.two.set(func(context.Context) error {
			if n++; n == 2 {
				p.two.set(nil, false)
			}
			return fmt.Errorf("%w: the line is dead", omniq.ErrUncertain)
		}, true)
		a, b := p.task("one-x"), p.task("two-x")
		require.NoError(t, p.client.Enqueue(t.Context(), *a, *b))
		assert.Equal(t, 2, n)
		assert.True(t, p.one.has(t, a) && p.two.has(t, b))
	})
}

// Producers of one backend do not wait for another one that is silent.
func TestRouteEnqueueBesideSilence(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		shared := func(c *omniq.Capabilities) { c.Shared = true } // so that enqueues gather
		one, two := &hinge{Backend: modest{memory.New(), shared}}, &hinge{Backend: modest{memory.New(), shared}}
		b, err := omniq.Route(map[string]omniq.Backend{"one": one, "two": two}, byPrefix)
		require.NoError(t, err)
		defer func() { assert.NoError(t, b.Close()) }()
		client := newClient(t, b)
		two.set(silence, false)
		enqueue := func(queue string) error {
			task := rawTask()
			task.Queue = queue
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return client.Enqueue(ctx, task)
		}
		stuck := make(chan error)
		go func() { stuck <- enqueue("two-x") }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, enqueue("one-x"))
		assert.Zero(t, time.Since(began))
		require.ErrorIs(t, <-stuck, context.DeadlineExceeded)
	})
}

// What is tied together and lives in two backends is refused before anything is stored.
func TestRouteRefusesFlowsAcross(t *testing.T) {
	p := newPair(t)
	after := func(other *omniq.RawTask) func(*omniq.RawTask) {
		return func(t *omniq.RawTask) { t.After = append(t.After, omniq.Dependency{ID: other.ID}) }
	}
	flow := uuid.New()
	member := func(t *omniq.RawTask) { t.Flow = flow }
	first := p.task("one-x")
	for name, tasks := range map[string][]*omniq.RawTask{
		"members of one flow": {p.task("one-x", member), p.task("two-x"), p.task("two-x", member)},
		"one that waits":      {first, p.task("one-y"), p.task("two-x", after(first))},
		"one that is invalid": {p.task("one-x"), p.task("two-x", func(t *omniq.RawTask) { t.FuncName = "" })},
		"nil":                 {p.task("one-x"), p.task("two-x"), nil},
	} {
		_, err := p.Enqueue(t.Context(), tasks)
		require.ErrorIs(t, err, omniq.ErrInvalid, name)
		for _, task := range tasks {
			assert.False(t, task != nil && (p.one.has(t, task) || p.two.has(t, task)), name)
		}
	}
	p.put(t, first, p.task("two-x"), p.task("one-y", after(first)))
	next := p.task("two-x", after(first))
	_, err := p.Enqueue(t.Context(), []*omniq.RawTask{next})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorContains(t, err, fmt.Sprintf(`task %v lives in backend "two", and task %v, for which it is to wait, in "one"`, next.ID, first.ID))
	_, err = p.Enqueue(t.Context(), []*omniq.RawTask{p.task("two-x", after(next))})
	require.ErrorIs(t, err, omniq.ErrNotFound, "it is nowhere")
	_, err = flowSum.On(omniq.All(flowLen.With(str("a")), flowLen.With(str("b"))), omniq.Queue("two-x")).Enqueue(t.Context(), p.client)
	require.ErrorContains(t, err, "a flow stays in one backend")
}

// A handler cannot enqueue or cancel what lives elsewhere in one step with its own end, and its task says so.
func TestRouteRefusesEffectsAcross(t *testing.T) {
	p := newPair(t)
	victim := p.task("two-y")
	p.put(t, victim)
	for name, effect := range map[string]func(context.Context) error{
		"enqueued": func(ctx context.Context) error {
			_, err := omniq.Enqueue(ctx, flowNote.With(omniq.Queue("two-x")))
			return err
		},
		"cancelled": func(ctx context.Context) error {
			return omniq.Cancel(ctx, victim.ID)
		},
	} {
		parent := omniq.DefineNoArgs("parent", func(ctx context.Context) (int, error) { return 1, effect(ctx) })
		w := run(t, p.Backend, omniq.Handlers(parent), omniq.Queues("one-x", "two-z"))
		h, err := parent.Enqueue(t.Context(), p.client, omniq.Queue("one-x"))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, `in one step with the end of one that lives in "one"`, name)
		h, err = parent.Enqueue(t.Context(), p.client, omniq.Queue("two-z"))
		require.NoError(t, err)
		n, err := h.Wait(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, 1, n)
		require.NoError(t, w.stop())
	}
	r, err := p.Result(t.Context(), victim.ID)
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusCancelled, r.Status)
}

func TestRouteClose(t *testing.T) {
	p := newPair(t)
	waiting := make(chan error)
	go func() {
		_, err := p.Lease(context.Background(), omniq.LeaseRequest{
			Queues: []string{"one-x", "two-x"}, Max: 1, Duration: time.Minute, Wait: time.Hour, WorkerID: "w",
		})
		waiting <- err
	}()
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	require.ErrorIs(t, <-waiting, omniq.ErrClosed)
	for _, b := range []omniq.Backend{p.Backend, p.one.Backend, p.two.Backend} {
		_, err := b.Stats(t.Context())
		require.ErrorIs(t, err, omniq.ErrClosed)
	}
	_, err := p.Enqueue(t.Context(), []*omniq.RawTask{p.task("one-x"), p.task("two-x")})
	require.ErrorIs(t, err, omniq.ErrClosed)
	assert.Zero(t, p.log.count(slog.LevelError), "to be closed is no trouble: %v", &p.log)
}

// ids are those of tasks.
func idsOf(list []*omniq.TaskInfo) (ids []uuid.UUID) {
	for _, info := range list {
		ids = append(ids, info.ID)
	}
	return ids
}
