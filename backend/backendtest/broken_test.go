package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
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

// recorder is the T of a rule that may fail.
type recorder struct {
	ctx context.Context
	mu  sync.Mutex
	log []string
}

func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) FailNow()                 { runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// failures runs a rule on a backend, in time that takes none, and returns what it complained about.
func failures(t *testing.T, r rule, breaks func(*broken)) (log []string) {
	bubble.Test(t, func(t *testing.T) {
		var opts []memory.Option
		if r.events > 0 {
			opts = append(opts, memory.WithEvents(r.events))
		}
		m := memory.New(opts...)
		b := unbroken(m)
		breaks(b)
		log = recorded(t, func(rec T) { r.check(&checker{T: rec, rule: r.name, b: b}) }, func() { require.NoError(t, m.Close()) })
	})
	return log
}

// recorded runs a check and then ends what it uses, which also ends what looks at no context. It returns the complaints.
func recorded(t *testing.T, check func(T), end func()) []string {
	ctx, cancel := context.WithCancel(t.Context())
	rec := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("a rule panics: %v\n%s", p, debug.Stack())
			}
		}()
		check(rec)
	}()
	<-done
	cancel()
	end()
	time.Sleep(worst) // ends what looks at it now and then
	synctest.Wait()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.log
}

// unbroken has the methods of a memory backend.
func unbroken(m *memory.Backend) *broken {
	return &broken{
		m: m, enqueue: m.Enqueue, lease: m.Lease, start: m.Start, extend: m.Extend, free: m.Free, settle: m.Settle, cancel: m.Cancel,
		revoked: m.Revoked, requeue: m.Requeue, runNow: m.RunNow, update: m.Update, inspect: m.Inspect, list: m.List, stats: m.Stats, pause: m.Pause,
		resume: m.Resume, result: m.Result, await: m.Await, record: m.Record, forget: m.Forget, append: m.Append,
		events: m.Events, close: m.Close, notes: m.Note, resolve: m.Resolve, stream: m.Stream, cancelFlow: m.CancelFlow,
		flowStats: m.FlowStats, setLimit: m.SetLimit, beat: m.Beat, workers: m.Workers, history: m.History,
	}
}

// broken is a memory backend with methods of other behaviour.
type broken struct {
	m       *memory.Backend
	enqueue func(context.Context, []*omniq.RawTask) ([]error, error)
	lease   func(context.Context, omniq.LeaseRequest) ([]omniq.Lease, error)
	start   func(context.Context, []omniq.LeaseID) ([]error, error)
	free    func(context.Context, []omniq.UniqueKey) ([]error, error)
	extend  func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error)
	settle  func(context.Context, []omniq.Settlement) ([]error, error)
	cancel  each
	revoked func(context.Context, string) ([]omniq.LeaseID, error)
	requeue func(context.Context, []uuid.UUID, bool) ([]error, error)
	runNow  each
	update  func(context.Context, []omniq.Update) ([]error, error)
	inspect func(context.Context, uuid.UUID) (*omniq.TaskInfo, error)
	list    func(context.Context, omniq.ListRequest) ([]*omniq.TaskInfo, string, error)
	stats   func(context.Context) ([]omniq.QueueStats, error)
	pause   func(context.Context, string) error
	resume  func(context.Context, string) error
	result  func(context.Context, uuid.UUID) (*omniq.RawResult, error)
	await   func(context.Context, uuid.UUID) (*omniq.RawResult, error)
	record  func(context.Context, []*omniq.RawResult) ([]error, error)
	forget  each
	append  func(context.Context, []*omniq.TaskEvent) error
	notes   func(context.Context, []omniq.LeaseNotes) ([]error, error)
	resolve func(context.Context, []*omniq.RawResult) ([]error, error)
	stream  func(context.Context, omniq.StreamRequest) (omniq.StreamPage, error)

	cancelFlow func(context.Context, uuid.UUID) (int, error)
	flowStats  func(context.Context, uuid.UUID) (omniq.FlowStats, error)
	setLimit   func(context.Context, string, omniq.Limit) error

	beat    func(context.Context, omniq.WorkerInfo) error
	workers func(context.Context) ([]omniq.WorkerInfo, error)
	history func(context.Context, time.Duration) ([]omniq.Minute, error)

	events func(context.Context, omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error)
	close  func() error
}

// each is a method that does something with each of some tasks.
type each = func(context.Context, []uuid.UUID) ([]error, error)

func (b *broken) Capabilities() omniq.Capabilities { return b.m.Capabilities() }
func (b *broken) Close() error                     { return b.close() }

// closed is closed when the backend is.
func (b *broken) closed() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.m.Lease(context.Background(), omniq.LeaseRequest{Queues: []string{"never"}, Max: 1, Duration: 1, Wait: 24 * time.Hour})
	}()
	return done
}

// complains reports whether a rule is broken. Each complaint says which rule it is.
func complains(t *testing.T, name string, log []string) bool {
	for _, complaint := range log {
		assert.Contains(t, complaint, fmt.Sprintf("rule %q is broken", name))
	}
	return len(log) > 0
}

// assertBroken checks that something breaks the rules that it is said to break, and those alone unless others are the last.
func assertBroken(t *testing.T, name string, want, got []string) {
	if n := len(want) - 1; want[n] == others {
		assert.Subset(t, got, want[:n], "%s: it breaks the first and should break the second", name)
	} else {
		assert.ElementsMatch(t, want, got, "%s: it should break the first and breaks the second", name)
	}
}

// Each backend that is broken in one way breaks the rules about it, and no other one. Each rule is broken by one.
func TestBrokenBackendsFail(t *testing.T) {
	var mu sync.Mutex
	tested := make(map[string]bool)
	t.Run("backends", func(t *testing.T) {
		sole := slices.Concat(
			brokenTasks, brokenLeases, brokenStarts, brokenDefers, brokenHolds, brokenResults, brokenCalls,
			brokenCancels, brokenRequeues, brokenNows, brokenUpdates, brokenLimits, brokenKeys, brokenPauses, brokenViews, brokenRecords, brokenEvents, brokenCursors,
			brokenClocks, brokenRaces, brokenDoors, brokenMonitors, brokenHistories,
		)
		tied := slices.Concat(brokenGraphs, brokenResolves, brokenEffects, brokenNotes, brokenFlows)
		for i, tt := range slices.Concat(sole, tied, brokenBounds, brokenReplaces) {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				asked := replaceRules
				switch {
				case i < len(sole):
					asked = soleRules
				case i < len(sole)+len(tied):
					asked = flowsRules
				case i < len(sole)+len(tied)+len(brokenBounds):
					asked = boundedRules
				}
				var got []string
				for _, r := range asked {
					// Those take too long for backends that are not said to break them.
					if slices.Contains(costly, r.name) && !slices.Contains(tt.rules, r.name) {
						continue
					}
					if complains(t, r.name, failures(t, r, tt.breaks)) {
						got = append(got, r.name)
					}
				}
				assertBroken(t, tt.name, tt.rules, got)
				mu.Lock()
				defer mu.Unlock()
				for _, name := range got {
					tested[name] = true
				}
			})
		}
	})
	for _, r := range rules {
		assert.True(t, tested[r.name], "nothing breaks the rule %q", r.name)
	}
}

func TestUnbrokenBackendPasses(t *testing.T) {
	for _, r := range rules {
		assert.Empty(t, failures(t, r, func(*broken) {}), r.name)
	}
}

func TestRulesHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rules {
		assert.False(t, seen[r.name], r.name)
		seen[r.name] = true
	}
	for _, name := range slices.Concat(costly, tiedNames, []string{oneCursor}) {
		assert.True(t, seen[name], "no rule is %q", name)
	}
}

// What a backend says that it cannot do is not asked of it.
func TestNeeds(t *testing.T) {
	for _, r := range rules {
		if r.needs != nil {
			assert.False(t, r.needs(omniq.Capabilities{}), r.name)
			assert.True(t, r.needs(memory.New(memory.WithEvents(long)).Capabilities()), r.name)
		}
	}
}
