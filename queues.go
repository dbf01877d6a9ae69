package omniq

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// order is the worker's queues in the order in which to look at them. With weights it is drawn anew each time: the first by
// its weight, the next by its weight among the rest, and so on. That is the order of u^(1/weight) for random numbers u
// (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006).
func (w *Worker) order() []string {
	if w.weights == nil {
		return w.queues
	}
	type drawn struct {
		name string
		key  float64
	}
	all := make([]drawn, len(w.queues))
	for i, name := range w.queues {
		all[i] = drawn{name, math.Log(1-rand.Float64()) / float64(w.weights[i])}
	}
	slices.SortFunc(all, func(a, b drawn) int { return cmp.Compare(b.key, a.key) })
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.name
	}
	return names
}

// boundQueues leaves the queues out of a request that are full, and bounds the others. The call ends when one that it leaves out
// has room again, so that another call asks for it. The worker's mu is locked.
func (w *Worker) boundQueues(ctx context.Context, r *LeaseRequest) context.Context {
	names := make([]string, 0, len(r.Queues))
	limits := make([]int, 0, len(r.Queues))
	for _, name := range r.Queues {
		room := r.Max
		if most, ok := w.limits[name]; ok {
			room = min(room, most-w.inQueue[name])
		}
		if room > 0 {
			names = append(names, name)
			limits = append(limits, room)
		}
	}
	full := len(names) < len(r.Queues)
	r.Queues, r.Limits = names, limits
	if full && len(names) > 0 {
		ctx, w.renew = context.WithCancel(ctx)
	}
	return ctx
}

// asked is told what a call has got that boundQueues has bounded.
func (w *Worker) asked(leases []Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.renew != nil {
		w.renew()
		w.renew = nil
	}
	for i := range leases {
		if name := cmp.Or(leases[i].Task.Queue, DefaultQueue); w.limits[name] > 0 {
			w.inQueue[name]++
		}
	}
}

// leaveQueue is told that a task of a queue is not held any more. The worker's mu is locked.
func (w *Worker) leaveQueue(name string) {
	name = cmp.Or(name, DefaultQueue)
	most := w.limits[name]
	if most == 0 {
		return
	}
	if w.inQueue[name] == most && w.renew != nil {
		w.renew()
	}
	w.inQueue[name]--
}
