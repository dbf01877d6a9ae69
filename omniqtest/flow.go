package omniqtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// RunFlow stores the graph of a promise in a queue of its own, works it until all of its members are final, and returns the result
// of the promise's call, or its error, as whoever waits gets it. The options are the worker's; at least [omniq.Handlers] or a
// [Returns] is needed.
//
// Time is virtual: delays, retries, timeouts and TTLs take none, as inside of testing/synctest, where RunFlow may be called, too.
// What a handler waits for that is no timer, as an answer from the network, takes as long as it takes.
//
// [Returns] and [Fails] replace the results of members, and [Sends] sends signals. A signal that nobody sends ends by its TTL; one
// without fails the test, and so does a member for which there is no handler.
func RunFlow[R any](t *testing.T, p omniq.Promise[R], opts ...omniq.WorkerOption) (R, error) {
	t.Helper()
	if !inBubble(t) {
		var r R
		var err error
		bubble.Test(t, func(t *testing.T) { r, err = RunFlow(t, p, opts...) })
		return r, err
	}
	q := New(t)
	q.virtual = true
	h, err := p.Enqueue(context.Background(), q.Client)
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	f, err := h.Flow(context.Background())
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	q.work(opts, func(stats []omniq.QueueStats) bool {
		members, err := f.Stats(context.Background())
		if err != nil {
			t.Fatalf("omniqtest: %v", err)
		}
		if members.Open() == 0 {
			return true
		}
		if stuck, forever := q.stuck(stats, opts); stuck && len(forever) > 0 {
			t.Fatalf("omniqtest: the flow never ends, because nobody sends %s: give RunFlow a Sends, or the signal a TTL", strings.Join(forever, ", "))
		}
		return false
	})
	return h.Wait(context.Background())
}

// inBubble reports whether t is that of a testing/synctest bubble, where it has no deadline.
func inBubble(t *testing.T) (in bool) {
	defer func() { in = recover() != nil }()
	t.Deadline()
	return false
}

// stuck reports whether there are only tasks left that wait for signals which no option sends, by themselves or in a row, and which
// of these signals have no end.
func (q *Queue) stuck(stats []omniq.QueueStats, opts []omniq.WorkerOption) (stuck bool, forever []string) {
	waiting := 0
	for _, s := range stats {
		if left(s) > 0 {
			return false, nil
		}
		waiting += s.Waiting
	}
	if waiting == 0 {
		return true, nil
	}
	tasks := make(map[uuid.UUID]*omniq.TaskInfo)
	for info, err := range q.Client.List(context.Background(), omniq.StatusWaiting, "") {
		if err != nil {
			q.t.Fatalf("omniqtest: %v", err)
		}
		tasks[info.ID] = info
	}
	for _, info := range tasks {
		if info.Task.Manual {
			if sends(opts, info.FuncName) {
				return false, nil
			}
			if info.Task.TTL == nil {
				forever = append(forever, fmt.Sprintf("%q, task %v", info.FuncName, info.ID))
			}
			continue
		}
		waits := false
		for _, d := range info.After {
			waits = waits || tasks[d.ID] != nil
		}
		if !waits { // it is about to be released
			return false, nil
		}
	}
	return true, forever
}
