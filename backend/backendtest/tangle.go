package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// graph is a flow of random tasks, and what is known of what becomes of them.
type graph struct {
	*checker
	seed uint64
	flow uuid.UUID

	mu    sync.Mutex
	rand  *rand.Rand
	nodes map[uuid.UUID]*node
	order []*node // those that are enqueued first
}

// node is a task of a graph, and what its handler does.
type node struct {
	*omniq.RawTask
	life      int                // how often it has begun, at least 1
	fails     bool               // for good, in its first life
	trouble   []trouble          // what happens in its first life before it ends
	children  int                // how many it brings and hands over to, in each life
	after     []omniq.Dependency // what it waits for now
	brought   bool               // it has handed over in this life
	done      bool               // its end was settled in this life
	cancelled bool               // somebody has cancelled it in this life
}

// trouble is what an attempt can come to that is not the end of its task.
type trouble uint8

const (
	retried trouble = iota
	snoozed
	deferred
	troubles
)

func newGraph(c *checker, size int) *graph {
	seed := rand.Uint64()
	g := &graph{
		checker: c, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), flow: uuid.New(), nodes: make(map[uuid.UUID]*node),
	}
	for i := range size {
		n := g.node()
		n.Priority = g.rand.IntN(3)
		for range g.width() {
			before := i - 1 - g.rand.IntN(min(i, 12)+1)
			if before < 0 {
				continue
			}
			d := omniq.Dependency{ID: g.order[before].ID, Input: g.rand.IntN(4) > 0}
			if g.rand.IntN(3) == 0 {
				d.Need = omniq.NeedFinal
			}
			if !slices.ContainsFunc(n.After, func(o omniq.Dependency) bool { return o.ID == d.ID }) {
				n.After = append(n.After, d)
			}
		}
		n.after = n.After
		n.fails = g.rand.IntN(8) == 0
		if g.rand.IntN(6) == 0 {
			n.children = 1 + g.rand.IntN(3)
		}
		for range max(g.rand.IntN(5)-2, 0) {
			n.trouble = append(n.trouble, trouble(g.rand.IntN(int(troubles))))
		}
		g.order = append(g.order, n)
	}
	return g
}

// node is a new member, which is known from now on.
func (g *graph) node() *node {
	n := &node{RawTask: task(member(g.flow)), life: 1}
	g.nodes[n.ID] = n
	return n
}

// width is how many dependencies a task gets at the most.
func (g *graph) width() int {
	if g.rand.IntN(10) == 0 {
		return 12
	}
	return g.rand.IntN(4)
}

// Errorf names the seed.
func (g *graph) Errorf(format string, args ...any) {
	g.Helper()
	g.checker.Errorf("of the graph of seed %d: "+format, append([]any{g.seed}, args...)...)
}

// run enqueues the graph, works it to its end while some of its tasks are cancelled, requeues what has not succeeded, and works
// that, which succeeds.
func (g *graph) run() {
	tasks := make([]*omniq.RawTask, len(g.order))
	for i, n := range g.order {
		tasks[i] = n.RawTask
	}
	g.enqueue(tasks...)
	g.work(g.disturb)
	g.check(false)
	var again []*omniq.RawTask
	for _, n := range g.order {
		if g.result(n.ID).Status != omniq.StatusSuccess {
			again = append(again, n.RawTask)
		}
	}
	g.rand.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
	for _, n := range again {
		*g.nodes[n.ID] = node{RawTask: n, life: 2, after: n.After, children: g.nodes[n.ID].children}
	}
	follow := g.rand.IntN(2) == 0
	for i, err := range g.requeueAll(follow, again...) {
		require.NoError(g, err, "requeue of task %v with what follows: %v", again[i].ID, follow)
	}
	g.work(func(context.Context) error { return nil })
	g.check(true)
}

// work lets workers work until each member has ended, while something else is done.
func (g *graph) work(meanwhile func(context.Context) error) {
	g.Helper()
	ctx, stop := context.WithCancel(g.Context())
	defer stop()
	calls := []<-chan error{async(func() error { return meanwhile(ctx) })}
	for i := range 4 {
		calls = append(calls, async(func() error { return g.worker(ctx, fmt.Sprint("worker ", i)) }))
	}
	var stats omniq.FlowStats
	for end := time.Now().Add(2 * worst); ; g.pause() {
		if stats = g.flowStats(g.flow); stats.Open() == 0 || time.Now().After(end) {
			break
		}
	}
	stop()
	for _, done := range calls {
		require.NoError(g, g.ended(done, "a worker"))
	}
	if stats.Open() > 0 {
		require.Fail(g, "members do not end", "%+v: %s", stats, g.open())
	}
}

// open tells of members that have not ended.
func (g *graph) open() string {
	var s strings.Builder
	for _, info := range g.list(omniq.ListRequest{Flow: g.flow, Max: 100}) {
		if info.Status.Final() {
			continue
		}
		fmt.Fprintf(&s, "\n%v is %v after", info.ID, info.Status)
		for _, d := range info.After {
			fmt.Fprintf(&s, " %v (%v, %v)", d.ID, d.Need, g.result(d.ID).Status)
		}
	}
	return s.String()
}

// disturb cancels some members, and leases some to a worker that dies, one by one.
func (g *graph) disturb(ctx context.Context) error {
	for i := range 5 {
		g.pause()
		if i%2 > 0 {
			_, err := g.b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: short, WorkerID: "a worker that dies", Ahead: i / 2,
			})
			if err != nil {
				return unlessEnded(ctx, err)
			}
			continue
		}
		g.mu.Lock()
		n := g.order[g.rand.IntN(len(g.order))]
		g.mu.Unlock()
		errs, err := g.b.Cancel(ctx, []uuid.UUID{n.ID})
		if err != nil {
			return unlessEnded(ctx, err)
		}
		if first(errs) == nil {
			g.mu.Lock()
			n.cancelled = true
			g.mu.Unlock()
		}
	}
	return nil
}

// worker works until the context ends.
func (g *graph) worker(ctx context.Context, id string) error {
	for {
		leases, err := g.b.Lease(ctx, omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: 3, Duration: long, Wait: while, WorkerID: id,
		})
		if err != nil {
			return unlessEnded(ctx, err)
		}
		var ends []omniq.Settlement
		for _, l := range leases {
			s, err := g.attempt(l)
			if err != nil {
				return fmt.Errorf("task %v, attempt %d: %w", l.TaskID, l.Attempt, err)
			}
			ends = append(ends, s)
		}
		if err := g.end(ends); err != nil {
			return err
		}
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// attempt looks at a lease, and tells how it ends.
func (g *graph) attempt(l omniq.Lease) (omniq.Settlement, error) {
	if err := g.checkInputs(l); err != nil {
		return omniq.Settlement{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.nodes[l.TaskID]
	switch {
	case n.done:
		return omniq.Settlement{}, errors.New("it runs again, and has ended")
	case n.brought != l.Resumed:
		return omniq.Settlement{}, fmt.Errorf("it has handed over: %v, and Resumed is %v", n.brought, l.Resumed)
	}
	if len(n.trouble) > 0 {
		t := n.trouble[0]
		n.trouble = n.trouble[1:]
		switch t {
		case retried:
			return retry(l), nil
		case snoozed:
			return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Delay: 2 * time.Millisecond}, nil
		case deferred:
			return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: time.Millisecond}, nil
		}
	}
	if n.children > 0 && !n.brought {
		var bring []*omniq.RawTask
		var after []omniq.Dependency
		for range n.children {
			child := g.node()
			child.fails = g.rand.IntN(4) == 0
			bring, after = append(bring, child.RawTask), append(after, ending(child.RawTask))
		}
		n.brought, n.after = true, after
		return handover(l, bring, after...), nil
	}
	if n.fails {
		return failure(l, long), nil
	}
	return success(l, fmt.Sprintf(`"%v in life %d"`, l.TaskID, n.life), long), nil
}

// end settles leases. One whose task was cancelled meanwhile may be lost.
func (g *graph) end(ends []omniq.Settlement) error {
	g.mu.Lock()
	for _, s := range ends {
		g.nodes[s.TaskID].done = s.Action == omniq.ActionFinish
	}
	g.mu.Unlock()
	errs, err := g.b.Settle(g.Context(), ends)
	if err != nil {
		return err
	}
	for i, why := range errs {
		if why == nil {
			continue
		}
		if !errors.Is(why, omniq.ErrLeaseLost) {
			return fmt.Errorf("settle task %v: %w", ends[i].TaskID, why)
		}
		r, err := g.b.Result(g.Context(), ends[i].TaskID)
		if err != nil || r.Status != omniq.StatusCancelled {
			return fmt.Errorf("the lease of task %v is lost, and it was not cancelled (%v)", ends[i].TaskID, err)
		}
		if ends[i].Action == omniq.ActionWait { // it has brought nothing
			g.mu.Lock()
			n := g.nodes[ends[i].TaskID]
			n.after, n.brought = n.After, false
			for _, t := range ends[i].Effects.Enqueue {
				delete(g.nodes, t.ID)
			}
			g.mu.Unlock()
		}
	}
	return nil
}

// checkInputs checks that what a task has waited for has ended as it needs it, and that it has the results.
func (g *graph) checkInputs(l omniq.Lease) error {
	g.mu.Lock()
	n, ok := g.nodes[l.TaskID]
	var after []omniq.Dependency
	if ok {
		after = n.after
	}
	g.mu.Unlock()
	switch {
	case !ok:
		return errors.New("nobody has enqueued it")
	case len(l.Inputs) != len(after) && len(l.Inputs) > 0 || len(l.Inputs) == 0 && slices.ContainsFunc(after, func(d omniq.Dependency) bool { return d.Input }):
		return fmt.Errorf("it has %d inputs, want %d", len(l.Inputs), len(after))
	}
	for i, d := range after {
		r, err := g.b.Result(g.Context(), d.ID)
		if err != nil {
			return fmt.Errorf("the result of dependency %v: %w", d.ID, err)
		}
		if !d.Need.Met(r.Status) {
			return fmt.Errorf("dependency %v is %v, want %v", d.ID, r.Status, d.Need)
		}
		if len(l.Inputs) == 0 {
			continue
		}
		in := l.Inputs[i]
		switch {
		case !d.Input && in != nil:
			return fmt.Errorf("input %d is there, and none is wanted", i)
		case !d.Input:
		case in == nil:
			return fmt.Errorf("input %d is missing", i)
		case in.TaskID != d.ID || in.Status != r.Status || string(in.ResultData) != string(r.ResultData):
			return fmt.Errorf("input %d is %v of task %v with %s, want %v of task %v with %s", i, in.Status, in.TaskID, in.ResultData,
				r.Status, d.ID, r.ResultData)
		}
	}
	return nil
}

// check checks what each task that was enqueued first has come to.
func (g *graph) check(well bool) {
	g.Helper()
	for _, n := range g.order {
		info := g.inspect(n.ID)
		require.True(g, info.Status.Final(), "task %v is %v", n.ID, info.Status)
		if want := n.after; len(want) > 0 || len(info.After) > 0 {
			require.Equal(g, want, info.After, "what task %v has waited for", n.ID)
		}
		if well {
			require.Equal(g, omniq.StatusSuccess, info.Status, "task %v: %v", n.ID, info.Error)
		}
		r := g.result(n.ID)
		switch {
		case info.Status == omniq.StatusSuccess:
			require.Equal(g, fmt.Sprintf(`"%v in life %d"`, n.ID, n.life), string(r.ResultData))
			require.True(g, n.done && !n.fails && !n.cancelled, "task %v has succeeded, want another end", n.ID)
		case info.Status == omniq.StatusFailure:
			require.True(g, n.done && n.fails, "task %v has failed, want another end", n.ID)
			continue
		case errors.Is(r.Err(), omniq.ErrDependency):
			require.True(g, g.begunBy(n, r), "task %v has ended because of another: %v", n.ID, r.Error)
			continue
		default:
			require.True(g, n.cancelled, "task %v is %v, and nobody has cancelled it", n.ID, info.Status)
			continue
		}
		for _, d := range n.After {
			require.True(g, d.Need.Met(g.result(d.ID).Status), "task %v has succeeded, its dependency %v is %v", n.ID, d.ID, g.result(d.ID).Status)
		}
	}
}

// begunBy reports whether a task has ended because of one of those that it waited for.
func (g *graph) begunBy(n *node, r *omniq.RawResult) bool {
	return slices.ContainsFunc(n.after, func(d omniq.Dependency) bool {
		dep := g.result(d.ID)
		switch {
		case d.Need.Met(dep.Status):
			return false
		case errors.Is(dep.Err(), omniq.ErrDependency):
			return *dep.Error == *r.Error
		}
		return strings.Contains(r.Error.Message, d.ID.String())
	})
}
