// Package backendtest tells whether a backend keeps the contract of [omniq.Backend].
//
// A test of a backend is one call:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t) })
//	}
//
// Each rule of the contract is a subtest named after it. What a backend's Capabilities say it does not do is not asked
// of it. An engine that can keep events also says how it is opened then:
//
//	backendtest.Run(t, open, backendtest.Events(openWithEvents))
//
// and one that several processes can use at once how two of them open the same store: see [Shared]. One that has
// transactions of callers says how they are begun: see [Transactions].
package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Option says something about the engine that [Run] checks.
type Option func(*config)

type config struct {
	events func(*testing.T, time.Duration) omniq.Backend
	shared func(t *testing.T, retention, ofOther time.Duration) (one, other omniq.Backend)
	skewed func(*testing.T, time.Duration) omniq.Backend
	quick  bool

	together bool
	much     int

	transactions func(*testing.T) (omniq.Backend, func() Tx)
}

// Events gives Run a way to open new and empty backends that keep events for the given time. The rules about events are
// asked of these. Without it they are asked of the others, if those keep events, but for those about how long.
func Events(open func(t *testing.T, retention time.Duration) omniq.Backend) Option {
	return func(c *config) { c.events = open }
}

// Shared gives Run a way to open two backends on one new and empty store, as two processes do, which keep events for the
// given times if the engine can, the other one none where its time is zero. An engine whose Capabilities say Shared needs it:
// the rules about sharing are asked of these.
func Shared(open func(t *testing.T, retention, ofOther time.Duration) (one, other omniq.Backend)) Option {
	return func(c *config) { c.shared = open }
}

// Skewed gives Run a way to open new and empty backends whose clock is ahead of the test's by a time, which may be
// negative. The rules about clocks that differ are asked of these, once with a clock that is ahead and once with one
// that is behind.
func Skewed(open func(t *testing.T, by time.Duration) omniq.Backend) Option {
	return func(c *config) { c.skewed = open }
}

// Much makes the rules about large and random flows that many times larger. It is for a Run that may take minutes. Without it
// they are as large as a Run of all rules can bear.
func Much(times int) Option { return func(c *config) { c.much = times } }

// Run checks the backends that open returns, a new and empty one for each rule, several at once. It closes what it
// opened. It uses leases and TTLs of some hundred milliseconds of real time, longer ones where the backend or the machine
// turns out to be slow. The backend's clock must be that of the test, to the millisecond, but for those of Skewed.
func Run(t *testing.T, open func(t *testing.T) omniq.Backend, opts ...Option) {
	var cfg config
	for _, o := range opts {
		o(&cfg)
	}
	probe := open(t)
	caps := probe.Capabilities()
	require.NoError(t, probe.Close())
	for _, r := range rules {
		if !cfg.asks(&r, caps) {
			continue
		}
		openOne := open
		if r.events > 0 && cfg.events != nil {
			openOne = func(t *testing.T) omniq.Backend { return cfg.events(t, r.events) }
		}
		r.run(t, r.name, cfg.much, openOne)
	}
	if !cfg.quick {
		cfg.runShared(t, caps)
		cfg.runSkewed(t)
	}
	if !cfg.quick || cfg.transactions != nil {
		cfg.runTransactions(t, caps)
	}
}

// asks reports whether a rule is asked of backends that can do so much.
func (cfg *config) asks(r *rule, caps omniq.Capabilities) bool {
	switch {
	case cfg.quick && slices.Contains(costly, r.name):
		return false
	case caps.Spread && (r.name == oneCursor || !cfg.together && r.tied()):
		return false
	case r.events == silent:
		return !caps.Events
	case r.events > 0 && cfg.events == nil:
		return caps.Events && r.events >= long
	}
	return true
}

// run asks one rule of one backend.
func (r *rule) run(t *testing.T, name string, much int, open func(*testing.T) omniq.Backend) {
	t.Run(subtest(name), func(t *testing.T) {
		t.Parallel()
		b := open(t)
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		if r.needs != nil && !r.needs(b.Capabilities()) {
			t.Logf("not asked: %s does not promise it", b.Capabilities().Name)
			return
		}
		r.check(&checker{T: t, rule: r.name, b: b, much: much})
	})
}

// subtest is the name of a rule's test.
func subtest(name string) string { return strings.ReplaceAll(name, " ", "_") }

// rule is one sentence of the contract.
type rule struct {
	name   string
	check  func(*checker)
	needs  func(omniq.Capabilities) bool // whether it is asked of a backend; nil: of each
	events time.Duration                 // for how long the backend is to keep events; 0: it need not
}

// silent is for rules about backends that keep no events.
const silent time.Duration = -1

// T is what a rule needs of a *testing.T.
type T interface {
	require.TestingT

	// Context ends when the test does.
	Context() context.Context

	// Helper marks its caller as no place to report.
	Helper()
}

// checker is one rule and one backend.
type checker struct {
	T
	rule string
	b    omniq.Backend
	skew time.Duration // how far the backend's clock is ahead
	much int           // how many times larger large rules are, 0 for once
}

// factor is how many times larger large rules are than they must be.
func (c *checker) factor() int { return max(c.much, 1) }

// Errorf names the rule that is broken.
func (c *checker) Errorf(format string, args ...any) {
	c.Helper()
	c.T.Errorf("rule %q is broken: "+format, append([]any{c.rule}, args...)...)
}

const (
	short = 150 * time.Millisecond // a lease or a TTL that is to run out
	long  = time.Minute            // one that is not
	while = 50 * time.Millisecond  // how long a call is watched that is to block
	worst = 30 * time.Second       // how long to wait for what must happen
)

// task returns a task with a new ID, changed by the functions.
func task(change ...func(*omniq.RawTask)) *omniq.RawTask {
	t := &omniq.RawTask{
		ID: uuid.New(), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"),
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	for _, f := range change {
		f(t)
	}
	return t
}

func queue(name string) func(*omniq.RawTask)  { return func(t *omniq.RawTask) { t.Queue = name } }
func priority(n int) func(*omniq.RawTask)     { return func(t *omniq.RawTask) { t.Priority = n } }
func runAt(at time.Time) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.RunAt = at } }
func ttl(d time.Duration) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.TTL = &d }
}

// enqueue stores tasks, all of which must be new.
func (c *checker) enqueue(tasks ...*omniq.RawTask) {
	c.Helper()
	errs, err := c.b.Enqueue(c.Context(), tasks)
	require.NoError(c, err)
	for _, err := range errs {
		require.NoError(c, err)
	}
}

// lease asks for at most n tasks, and waits for the first as long as wait.
func (c *checker) lease(n int, wait time.Duration, change ...func(*omniq.LeaseRequest)) []omniq.Lease {
	c.Helper()
	r := omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: n, Duration: long, Wait: wait, WorkerID: "w"}
	for _, f := range change {
		f(&r)
	}
	leases, err := c.b.Lease(c.Context(), r)
	require.NoError(c, err)
	require.LessOrEqual(c, len(leases), n, "no more leases than asked for")
	return leases
}

func lasting(d time.Duration) func(*omniq.LeaseRequest) {
	return func(r *omniq.LeaseRequest) { r.Duration = d }
}

func from(queues ...string) func(*omniq.LeaseRequest) {
	return func(r *omniq.LeaseRequest) { r.Queues = queues }
}

// leaseOne leases the one task that is to be there by now or soon.
func (c *checker) leaseOne(change ...func(*omniq.LeaseRequest)) omniq.Lease {
	c.Helper()
	leases := c.lease(1, worst, change...)
	require.Len(c, leases, 1)
	return leases[0]
}

// none checks that no task is due.
func (c *checker) none(change ...func(*omniq.LeaseRequest)) {
	c.Helper()
	require.Empty(c, c.lease(1, 0, change...))
}

// noneUntil checks that no task of the queue is due before the time. It is false if it could not look before that.
func (c *checker) noneUntil(at time.Time, queue string) bool {
	c.Helper()
	leases := c.lease(1, 0, from(queue))
	if !time.Now().Before(at) {
		return false
	}
	require.Empty(c, leases, "a task was leased too early")
	return true
}

// inTime calls check, which looks at something while it lasts, until it has seen it in time: each time with a longer
// duration for it to last, and another queue.
func (c *checker) inTime(check func(d time.Duration, queue string) bool) {
	c.Helper()
	for d := short; d < worst; d *= 4 {
		if check(d, "q"+d.String()) {
			return
		}
	}
	require.Fail(c, "it was never so in time, or the backend is too slow to tell")
}

// soon is in d, in the milliseconds that each engine can hold.
func soon(d time.Duration) time.Time {
	return time.Now().Add(d).UTC().Truncate(time.Millisecond)
}

// settle settles one lease and returns what became of it.
func (c *checker) settle(s omniq.Settlement) error {
	c.Helper()
	return c.only(c.b.Settle(c.Context(), []omniq.Settlement{s}))
}

// only returns what became of the one item of a call.
func (c *checker) only(errs []error, err error) error {
	c.Helper()
	require.NoError(c, err)
	if errs == nil {
		return nil
	}
	require.Len(c, errs, 1)
	return errs[0]
}

// places checks what became of each item of a call; nil for what went well.
func (c *checker) places(errs []error, err error, want ...error) {
	c.Helper()
	require.NoError(c, err)
	if errs == nil {
		errs = make([]error, len(want))
	}
	require.Len(c, errs, len(want))
	for i := range want {
		if want[i] == nil {
			assert.NoError(c, errs[i], "item %d", i)
		} else {
			assert.ErrorIs(c, errs[i], want[i], "item %d", i)
		}
	}
}

// success is the settlement of a lease whose handler returned data.
func success(l omniq.Lease, data string, keep time.Duration) omniq.Settlement {
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(data),
		Timestamp: time.Now().UTC().Truncate(time.Microsecond), TTL: &keep, Attempts: l.Attempt,
	}}
}

// result returns the task's result as it is now.
func (c *checker) result(id uuid.UUID) *omniq.RawResult {
	c.Helper()
	r, err := c.b.Result(c.Context(), id)
	require.NoError(c, err)
	require.NotNil(c, r)
	return r
}

// await returns the task's result, for which it waits no longer than it must take.
func (c *checker) await(id uuid.UUID) *omniq.RawResult {
	c.Helper()
	return c.got(c.awaiting(id))
}

// notFound checks that the task's result goes by itself.
func (c *checker) notFound(id uuid.UUID) {
	c.Helper()
	var err error
	c.eventually("the result goes", func() bool { _, err = c.b.Result(c.Context(), id); return err != nil })
	require.ErrorIs(c, err, omniq.ErrNotFound)
}

// eventually waits until the condition holds.
func (c *checker) eventually(what string, condition func() bool) {
	c.Helper()
	for end := time.Now().Add(worst); !condition(); c.pause() {
		require.True(c, time.Now().Before(end), "it has not come to this: "+what)
	}
}

// pause lets a little time pass between looks.
func (c *checker) pause() {
	select {
	case <-c.Context().Done():
	case <-time.After(5 * time.Millisecond):
	}
}

// blocks checks that a call goes on for a while. It has begun by then, which cannot be seen in another way: where a rule
// needs that, it asks again with a longer while if it was not so.
func (c *checker) blocks(done <-chan error, what string) {
	c.Helper()
	c.blocksFor(while, done, what)
}

func (c *checker) blocksFor(d time.Duration, done <-chan error, what string) {
	c.Helper()
	select {
	case err := <-done:
		require.Fail(c, what+" does not block", "it returned %v", err)
	case <-time.After(d):
	}
}

// ended waits until a call that runs in a goroutine has ended, and returns its error.
func (c *checker) ended(done <-chan error, what string) error {
	c.Helper()
	timer := time.NewTimer(worst)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		require.Fail(c, what+" goes on")
		return nil
	}
}

// async calls f, which may not check anything, in a goroutine. What f calls must end with the rule's context.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// waiter is a call that has begun to wait.
type waiter struct {
	what   string
	done   <-chan error
	leases []omniq.Lease
	result *omniq.RawResult
	lost   []omniq.LeaseID
	events []omniq.StoredEvent
	next   omniq.Cursor
}

// leasing begins to wait for one task, for longer than the rule does.
func (c *checker) leasing(change ...func(*omniq.LeaseRequest)) *waiter {
	r := omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: long, Wait: long, WorkerID: "w"}
	for _, f := range change {
		f(&r)
	}
	w := &waiter{what: "Lease"}
	w.done = async(func() (err error) { w.leases, err = c.b.Lease(c.Context(), r); return err })
	return w
}

// awaiting begins to wait for a result.
func (c *checker) awaiting(id uuid.UUID) *waiter {
	w := &waiter{what: "Await"}
	w.done = async(func() (err error) { w.result, err = c.b.Await(c.Context(), id); return err })
	return w
}

// leased waits until w has the one task that it is to get.
func (c *checker) leased(w *waiter) omniq.Lease {
	c.Helper()
	require.NoError(c, c.ended(w.done, w.what))
	require.Len(c, w.leases, 1)
	return w.leases[0]
}

// gone waits until w has the result, which is not kept. It is false if w began too late for that.
func (c *checker) gone(w *waiter) bool {
	c.Helper()
	err := c.ended(w.done, w.what)
	if errors.Is(err, omniq.ErrNotFound) {
		return false
	}
	require.NoError(c, err)
	require.NotNil(c, w.result)
	return true
}

// got waits until w has the result.
func (c *checker) got(w *waiter) *omniq.RawResult {
	c.Helper()
	require.NoError(c, c.ended(w.done, w.what))
	require.NotNil(c, w.result)
	return w.result
}
