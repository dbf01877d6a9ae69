package backendtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// life is what the contract says of one task: a model of a backend that does one call after the other.
type life struct {
	status   omniq.Status // 0 for unknown
	attempts int
	held     bool // the lease that was handed out first has not ended
}

// call is one that is made of a task.
type call struct {
	name string
	make func(c *checker, r *round) (answer, error)

	// then says what becomes of the task, and whether it can be that the call had this answer.
	then func(l life, got answer) (life, bool)
}

// answer is what came of a call: an error, or the attempt that was leased.
type answer struct {
	err     error // one of the contract's, nil for none
	attempt int   // of a lease, 0 for none
}

func (a answer) String() string {
	if a.attempt > 0 {
		return fmt.Sprintf("attempt %d", a.attempt)
	}
	return fmt.Sprint(a.err)
}

// answered makes the answer of a call of one item.
func answered(errs []error, err error) (answer, error) {
	why := first(errs)
	for _, known := range []error{
		omniq.ErrNotFound, omniq.ErrState, omniq.ErrDuplicate, omniq.ErrLeaseLost, omniq.ErrCancelled,
	} {
		if errors.Is(why, known) {
			why = known
		}
	}
	return answer{err: why}, err
}

// The calls. What the contract refuses changes nothing.
var (
	callCancel = call{"Cancel", func(c *checker, r *round) (answer, error) {
		return answered(c.b.Cancel(c.Context(), []uuid.UUID{r.task.ID}))
	}, func(l life, got answer) (life, bool) {
		switch l.status {
		case 0:
			return l, got.err == omniq.ErrNotFound
		case omniq.StatusPending, omniq.StatusRunning:
			return life{status: omniq.StatusCancelled, attempts: l.attempts}, got.err == nil
		case omniq.StatusCancelled:
			return l, got.err == nil
		}
		return l, got.err == omniq.ErrState
	}}
	callRequeue = call{"Requeue", func(c *checker, r *round) (answer, error) {
		return answered(c.b.Requeue(c.Context(), []uuid.UUID{r.task.ID}, false))
	}, func(l life, got answer) (life, bool) {
		switch l.status {
		case 0:
			return l, got.err == omniq.ErrNotFound
		case omniq.StatusFailure, omniq.StatusCancelled:
			return life{status: omniq.StatusPending}, got.err == nil
		}
		return l, got.err == omniq.ErrState
	}}
	callForget = call{"Forget", func(c *checker, r *round) (answer, error) {
		return answered(c.b.Forget(c.Context(), []uuid.UUID{r.task.ID}))
	}, func(l life, got answer) (life, bool) {
		switch {
		case l.status == 0:
			return l, got.err == omniq.ErrNotFound
		case l.status.Final():
			return life{}, got.err == nil
		}
		return l, got.err == omniq.ErrState
	}}
	callEnqueue = call{"Enqueue", func(c *checker, r *round) (answer, error) {
		return answered(c.b.Enqueue(c.Context(), []*omniq.RawTask{r.task}))
	}, func(l life, got answer) (life, bool) {
		if l.status == 0 {
			return life{status: omniq.StatusPending}, got.err == nil
		}
		return l, got.err == omniq.ErrDuplicate
	}}
	// That a Lease finds nothing is no mistake: it may not have waited for a call that is not over.
	callLease = call{"Lease", func(c *checker, r *round) (answer, error) {
		leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
			Queues: []string{r.task.Queue}, Max: 1, Duration: long, WorkerID: "w",
		})
		if len(leases) == 0 {
			return answer{}, err
		}
		return answer{attempt: leases[0].Attempt}, err
	}, func(l life, got answer) (life, bool) {
		if got.attempt == 0 {
			return l, true
		}
		ok := l.status == omniq.StatusPending && got.attempt == l.attempts+1
		return life{status: omniq.StatusRunning, attempts: got.attempt}, ok
	}}
	callExtend = call{"Extend", func(c *checker, r *round) (answer, error) {
		return answered(c.b.Extend(c.Context(), []omniq.LeaseID{r.lease.LeaseID}, long))
	}, func(l life, got answer) (life, bool) {
		switch {
		case l.held:
			return l, got.err == nil
		case l.status == omniq.StatusCancelled:
			return l, got.err == omniq.ErrCancelled
		}
		return l, got.err == omniq.ErrLeaseLost
	}}
	callRetry = settles("Settle with a retry", retry, omniq.StatusPending)
	callFail  = settles("Settle with a failure", func(l omniq.Lease) omniq.Settlement { return failure(l, long) },
		omniq.StatusFailure)
)

// settles is a call that settles the first lease.
func settles(name string, with func(omniq.Lease) omniq.Settlement, to omniq.Status) call {
	return call{name, func(c *checker, r *round) (answer, error) {
		return answered(c.b.Settle(c.Context(), []omniq.Settlement{with(r.lease)}))
	}, func(l life, got answer) (life, bool) {
		if !l.held {
			return l, got.err == omniq.ErrLeaseLost
		}
		return life{status: to, attempts: l.attempts}, got.err == nil
	}}
}

// round is three calls that are made of one task at once.
type round struct {
	calls   [3]call
	task    *omniq.RawTask
	lease   omniq.Lease // the first one, if there was one
	answers [3]answer
	end     life
}

// rounds are all there are of three of the calls, some of them twice or three times.
func rounds(calls []call) []*round {
	var all []*round
	for i, one := range calls {
		for j, two := range calls[i:] {
			for _, three := range calls[i+j:] {
				three := [3]call{one, two, three}
				turn := len(all) % 3 // so that each is the first one
				all = append(all, &round{
					calls: [3]call{three[turn], three[(turn+1)%3], three[(turn+2)%3]},
					task:  task(queue(fmt.Sprint("q", len(all)))),
				})
			}
		}
	}
	return all
}

// ordered tells whether one after the other, in some order, the calls have the answers that were got, and this end.
func (r *round) ordered(from life) bool {
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		now, can := from, true
		for _, i := range order {
			next, ok := r.calls[i].then(now, r.answers[i])
			now, can = next, can && ok
		}
		now.held = false // nobody sees that
		if can && now == r.end {
			return true
		}
	}
	return false
}

func (r *round) String() string {
	var s []string
	for i := range r.calls {
		s = append(s, fmt.Sprintf("%s: %v", r.calls[i].name, r.answers[i]))
	}
	status := "unknown"
	if r.end.status != 0 {
		status = r.end.status.String()
	}
	return fmt.Sprintf("%s; then it is %s with %d attempts", strings.Join(s, ", "), status, r.end.attempts)
}

// inOrder makes all rounds of the calls with tasks that begin pending or, after one attempt, in another status, and
// checks that the calls of each come one after another, and that no task has two lives at once.
func (c *checker) inOrder(begin omniq.Status, calls ...call) []*round {
	c.Helper()
	all := rounds(calls)
	from := c.begin(begin, all)
	for _, r := range all {
		var done [3]<-chan error
		ready := make(chan struct{})
		for i := range r.calls {
			done[i] = async(func() (err error) {
				<-ready
				r.answers[i], err = r.calls[i].make(c, r)
				return err
			})
		}
		close(ready)
		for i := range done {
			require.NoError(c, c.ended(done[i], r.calls[i].name))
		}
		info, err := c.b.Inspect(c.Context(), r.task.ID)
		if err == nil {
			r.end = life{status: info.Status, attempts: info.Attempts}
		} else {
			require.ErrorIs(c, err, omniq.ErrNotFound)
		}
		require.True(c, r.ordered(from), "of a task that is %v no order of the calls has these answers: %v", begin, r)
	}
	left := make(map[uuid.UUID]int)
	for _, r := range all {
		if r.end.status == omniq.StatusPending {
			left[r.task.ID] = r.end.attempts + 1
		}
	}
	for _, l := range c.rest(all) {
		require.Equal(c, left[l.TaskID], l.Attempt, "a task of which it is not the next attempt")
		delete(left, l.TaskID)
	}
	require.Empty(c, left, "tasks that are pending and not leased")
	return all
}

// begin enqueues the task of each round and lets it come to a status. It returns what is so of each then.
func (c *checker) begin(status omniq.Status, all []*round) life {
	c.Helper()
	of := make(map[uuid.UUID]*round)
	var tasks []*omniq.RawTask
	var ids []uuid.UUID
	for _, r := range all {
		tasks, ids = append(tasks, r.task), append(ids, r.task.ID)
		of[r.task.ID] = r
	}
	c.enqueue(tasks...)
	if status == omniq.StatusPending {
		return life{status: status}
	}
	var failures []omniq.Settlement
	for _, l := range c.rest(all) {
		of[l.TaskID].lease = l
		failures = append(failures, failure(l, long))
	}
	require.Len(c, failures, len(all))
	switch status {
	case omniq.StatusFailure:
		errs, err := c.b.Settle(c.Context(), failures)
		c.places(errs, err, make([]error, len(all))...)
	case omniq.StatusCancelled:
		errs, err := c.b.Cancel(c.Context(), ids)
		c.places(errs, err, make([]error, len(all))...)
	}
	return life{status: status, attempts: 1, held: status == omniq.StatusRunning}
}

// rest leases all that is due of the rounds' tasks.
func (c *checker) rest(all []*round) (leases []omniq.Lease) {
	c.Helper()
	var queues []string
	for _, r := range all {
		queues = append(queues, r.task.Queue)
	}
	for len(leases) <= len(all) {
		more := c.lease(len(all), 0, from(queues...))
		if len(more) == 0 {
			return leases
		}
		leases = append(leases, more...)
	}
	require.Fail(c, "more tasks are leased than there are")
	return nil
}
