package backendtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// hour does what chance brings to the tasks of a queue with lanes and limits, one thing after the other, and knows what is to be so
// after each.
type hour struct {
	*checker
	seed   uint64
	rand   *rand.Rand
	limit  omniq.Limit
	served int // turns so far
	lanes  map[string]*hourLane
	tasks  map[uuid.UUID]*hourTask
	order  []uuid.UUID // of all tasks, so that chance finds the same ones again
	steps  []string    // the last ones
}

type hourLane struct{ ready, running, served int }

type hourTask struct {
	lane  string
	state omniq.Status // that of a task; 0 for one that is forgotten
	ready bool         // while it is pending
	lease omniq.Lease
}

// hourOfLanes does n things.
func (c *checker) hourOfLanes(n, expiries int) {
	c.Helper()
	seed := rand.Uint64()
	h := &hour{
		checker: c, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), lanes: make(map[string]*hourLane), tasks: make(map[uuid.UUID]*hourTask),
	}
	h.add("a", false) // an engine need not know when tasks without a lane had their turns before the queue had lanes
	for i := range n {
		h.step()
		h.check()
		if expiries > 0 && i%(n/expiries) == n/expiries-1 {
			h.expire()
			h.check()
		}
	}
	h.drain()
	for _, rare := range []func(){func() { h.add("b", true) }, h.hasten, h.cancelSome, h.requeueSome} { // chance may have left them out
		rare()
		h.check()
	}
	h.drain()
	h.check()
}

// Errorf names the seed, and what has happened last.
func (h *hour) Errorf(format string, args ...any) {
	h.Helper()
	h.checker.Errorf("in the hour of seed %d, after %q: "+format, append([]any{h.seed, h.steps}, args...)...)
}

func (h *hour) note(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
	h.steps = h.steps[max(len(h.steps)-8, 0):]
}

func (h *hour) lane(name string) *hourLane {
	if h.lanes[name] == nil {
		h.lanes[name] = new(hourLane)
	}
	return h.lanes[name]
}

// comes is told that a task is ready.
func (h *hour) comes(t *hourTask) {
	l := h.lane(t.lane)
	if l.ready == 0 && l.running == 0 {
		h.served++
		l.served = h.served
	}
	l.ready++
	t.state, t.ready = omniq.StatusPending, true
}

// leaves is told that a task is not ready any more, or runs no more.
func (h *hour) leaves(t *hourTask) {
	switch {
	case t.state == omniq.StatusRunning:
		h.lane(t.lane).running--
	case t.state == omniq.StatusPending && t.ready:
		h.lane(t.lane).ready--
	}
	t.ready = false
}

// next is the lane of the next task, and whether there is one.
func (h *hour) next() (next string, ok bool) {
	running := 0
	for _, l := range h.lanes {
		running += l.running
	}
	if h.limit.Running > 0 && running >= h.limit.Running {
		return "", false
	}
	for name, l := range h.lanes {
		full := name != "" && h.limit.EachLane.Running > 0 && l.running >= h.limit.EachLane.Running
		if l.ready > 0 && !full && (!ok || l.served < h.lanes[next].served) {
			next, ok = name, true
		}
	}
	return next, ok
}

// some returns a task in a state that fits, nil if there is none.
func (h *hour) some(fits func(*hourTask) bool) (uuid.UUID, *hourTask) {
	ids := slices.DeleteFunc(slices.Clone(h.order), func(id uuid.UUID) bool { return !fits(h.tasks[id]) })
	if len(ids) == 0 {
		return uuid.Nil, nil
	}
	id := ids[h.rand.IntN(len(ids))]
	return id, h.tasks[id]
}

func (h *hour) step() {
	switch n := h.rand.IntN(20); {
	case n < 5:
		h.add([]string{"", "a", "a", "a", "b", "c", "d", "e"}[h.rand.IntN(8)], h.rand.IntN(6) == 0)
	case n < 11:
		h.handOut(1 + h.rand.IntN(3))
	case n < 16:
		h.end()
	case n == 16:
		h.cancelSome()
	case n == 17:
		h.requeueSome()
	case n == 18:
		h.hasten()
	default:
		h.bind()
	}
}

func (h *hour) add(name string, later bool) {
	t := &hourTask{lane: name, state: omniq.StatusPending}
	raw := task(lane(name))
	if later {
		raw.Delay = long
	}
	h.note("enqueue in %q, later: %v", name, later)
	h.enqueue(raw)
	h.tasks[raw.ID] = t
	h.order = append(h.order, raw.ID)
	if !later {
		h.comes(t)
	}
}

// handOut leases tasks until it has n, or no limit permits more.
func (h *hour) handOut(n int) {
	for n > 0 {
		got := len(h.leaseSome(n, long))
		if got == 0 {
			return
		}
		n -= got
	}
}

// leaseSome leases at most n tasks by one call, and checks whose turn it is.
func (h *hour) leaseSome(n int, d time.Duration) (got []uuid.UUID) {
	h.note("lease %d", n)
	if _, ok := h.next(); !ok {
		require.Empty(h, h.checker.lease(1, 0), "a task is handed out that no limit permits, or none is ready")
		return nil
	}
	leases := h.checker.lease(n, worst, lasting(d))
	require.NotEmpty(h, leases, "a task that limits permit is not handed out")
	for _, l := range leases {
		want, ok := h.next()
		require.True(h, ok, "a task of lane %q is handed out beside limits", l.Task.Lane)
		require.Equal(h, want, l.Task.Lane, "the lane whose turn it is")
		t := h.tasks[l.TaskID]
		require.True(h, t.state == omniq.StatusPending && t.ready, "the task is not ready")
		h.leaves(t)
		h.served++
		h.lane(want).served = h.served
		h.lane(want).running++
		t.state, t.lease = omniq.StatusRunning, l
		got = append(got, l.TaskID)
	}
	return got
}

// end ends a lease in one of the ways of handlers and workers.
func (h *hour) end() {
	_, t := h.some(func(t *hourTask) bool { return t.state == omniq.StatusRunning })
	if t == nil {
		return
	}
	s := omniq.Settlement{LeaseID: t.lease.LeaseID}
	way := h.rand.IntN(7)
	h.note("settle in lane %q in way %d", t.lane, way)
	switch way {
	case 0, 1:
		s = success(t.lease, "1", long)
	case 2:
		s = failure(t.lease, long)
	case 3:
		s.Action = omniq.ActionRetry
	case 4:
		s.Action, s.Delay = omniq.ActionRetry, long
	case 5:
		s.Action = omniq.ActionRelease
	default:
		s.Action, s.Delay = omniq.ActionDefer, long
	}
	require.NoError(h, h.settle(s))
	switch {
	case s.Action == omniq.ActionFinish:
		h.leaves(t)
		t.state = s.Result.Status
	case s.Delay > 0:
		h.leaves(t)
		t.state = omniq.StatusPending
	default:
		h.comes(t) // its lane has not been without a task
		h.lane(t.lane).running--
	}
}

func (h *hour) cancelSome() {
	id, t := h.some(func(t *hourTask) bool { return t.state == omniq.StatusRunning || t.state == omniq.StatusPending })
	if t == nil {
		return
	}
	h.note("cancel in lane %q, %v", t.lane, t.state)
	require.NoError(h, h.cancel(id))
	h.leaves(t)
	t.state = omniq.StatusCancelled
}

func (h *hour) requeueSome() {
	id, t := h.some(func(t *hourTask) bool { return t.state == omniq.StatusCancelled || t.state == omniq.StatusFailure })
	if t == nil {
		return
	}
	h.note("requeue in lane %q", t.lane)
	require.NoError(h, h.requeue(id))
	h.comes(t)
}

// hasten makes a task due now that waits for its time.
func (h *hour) hasten() {
	id, t := h.some(func(t *hourTask) bool { return t.state == omniq.StatusPending && !t.ready })
	if t == nil {
		return
	}
	h.note("run now in lane %q", t.lane)
	require.NoError(h, h.only(h.b.RunNow(h.Context(), []uuid.UUID{id})))
	h.comes(t)
}

// bind changes the limit.
func (h *hour) bind() {
	h.limit = omniq.Limit{Running: h.rand.IntN(6), EachLane: omniq.LaneLimit{Running: h.rand.IntN(3)}}
	h.note("limit %d, %d", h.limit.Running, h.limit.EachLane.Running)
	h.bound(omniq.DefaultQueue, h.limit)
}

// expire lets leases run out: those of one call, as they may have run out before another one. When their tasks come back is a matter of
// chance, so all is worked off then.
func (h *hour) expire() {
	for _, id := range h.leaseSome(2, short) {
		h.lost(id)
		t := h.tasks[id]
		h.leaves(t)
		t.state = omniq.StatusPending
	}
	h.note("leases have run out")
	running := 0
	for _, l := range h.lanes {
		running += l.running
	}
	assert.Equal(h, running, h.figures().Running)
	h.drain()
}

// drain works all tasks off.
func (h *hour) drain() {
	h.note("drain")
	h.limit = omniq.Limit{}
	h.bound(omniq.DefaultQueue, h.limit)
	for _, id := range h.order {
		switch t := h.tasks[id]; t.state {
		case omniq.StatusRunning:
			require.NoError(h, h.settle(success(t.lease, "1", long)))
		case omniq.StatusPending:
			require.NoError(h, h.cancel(id))
		}
	}
	h.order = nil
	clear(h.tasks)
	clear(h.lanes)
	h.none()
}

func (h *hour) figures() omniq.QueueStats {
	for _, s := range h.stats() {
		if s.Queue == omniq.DefaultQueue {
			return s
		}
	}
	return omniq.QueueStats{}
}

// check compares what the engine tells with what is to be so.
func (h *hour) check() {
	h.Helper()
	s := h.figures()
	ready, running, lanes := 0, 0, 0
	for name, l := range h.lanes {
		ready += l.ready
		running += l.running
		if name != "" && l.ready+l.running > 0 {
			lanes++
		}
	}
	require.Equal(h, []int{ready, running, lanes}, []int{s.Ready, s.Running, s.Lanes}, "ready, running and lanes of %v",
		slices.Sorted(maps.Keys(h.lanes)))
	require.Equal(h, h.limit, s.Limit)
}
