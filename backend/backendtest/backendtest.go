// Package backendtest tells whether a backend keeps the contract of [omniq.Backend].
//
// A test of a backend is one call:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t) })
//	}
//
// Each rule of the contract is a subtest named after it. What a backend's Capabilities say it does not do is not asked
// of it.
package backendtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Run checks the backends that open returns, a new one for each rule. It uses leases and TTLs of some hundred
// milliseconds of real time, and closes what it opened.
func Run(t *testing.T, open func(t *testing.T) omniq.Backend) {
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := open(t)
			t.Cleanup(func() { assert.NoError(t, b.Close()) })
			if r.needs != nil && !r.needs(b.Capabilities()) {
				return
			}
			r.check(&checker{T: t, rule: r.name, b: b})
		})
	}
}

// rule is one sentence of the contract.
type rule struct {
	name  string
	check func(*checker)
	needs func(omniq.Capabilities) bool // whether it is asked of a backend; nil: of each
}

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
}

// Errorf names the rule that is broken.
func (c *checker) Errorf(format string, args ...any) {
	c.Helper()
	c.T.Errorf("rule %q is broken: "+format, append([]any{c.rule}, args...)...)
}

const (
	short = 150 * time.Millisecond // a lease or a TTL that is to run out
	long  = time.Minute            // one that is not
)

// worst is how long to wait for what must happen. The suite's own tests wait less.
var worst = 10 * time.Second

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

// settle settles one lease and returns what became of it.
func (c *checker) settle(s omniq.Settlement) error {
	c.Helper()
	errs, err := c.b.Settle(c.Context(), []omniq.Settlement{s})
	require.NoError(c, err)
	if errs == nil {
		return nil
	}
	require.Len(c, errs, 1)
	return errs[0]
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
	ctx, cancel := context.WithTimeout(c.Context(), worst)
	defer cancel()
	r, err := c.b.Await(ctx, id)
	require.NoError(c, err)
	require.NotNil(c, r)
	return r
}

// eventually waits until the condition holds.
func (c *checker) eventually(what string, condition func() bool) {
	c.Helper()
	require.Eventually(c, condition, worst, 5*time.Millisecond, what)
}

// blocks checks that a call goes on for a while. It has begun by then, which cannot be seen in another way.
func (c *checker) blocks(done <-chan error, what string) {
	c.Helper()
	select {
	case err := <-done:
		require.Fail(c, what+" does not block", "it returned %v", err)
	case <-time.After(short):
	}
}

// ended waits until a call that runs in a goroutine has ended, and returns its error.
func (c *checker) ended(done <-chan error, what string) error {
	c.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(worst):
		require.Fail(c, what+" goes on")
		return nil
	}
}

// async calls f in a goroutine.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("a check in it has failed")
		defer func() { done <- err }() // also when the check ends the goroutine
		err = f()
	}()
	return done
}
