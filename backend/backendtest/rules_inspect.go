package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// inspectRules say what is shown of a task.
var inspectRules = []rule{
	{name: "Inspect shows a pending task", check: func(c *checker) {
		at := soon(long)
		later := task(named("g"), queue("q"), runAt(at))
		began := time.Now().Truncate(time.Millisecond)
		now := task()
		c.enqueue(later, now)
		want := omniq.TaskInfo{ID: now.ID, FuncName: "f", Queue: omniq.DefaultQueue, Status: omniq.StatusPending, Task: now}
		info := c.inspect(now.ID)
		c.between(began, info.Since, "pending")
		c.between(began, info.Due, "due")
		c.shows(want, info)
		want = omniq.TaskInfo{ID: later.ID, FuncName: "g", Queue: "q", Status: omniq.StatusPending, Task: later}
		info = c.inspect(later.ID)
		c.between(began, info.Since, "pending")
		assert.True(c, at.Equal(info.Due), "due at %v, want %v", info.Due, at)
		c.shows(want, info)
	}},
	{name: "Inspect shows who works on a task, and the last error", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		began := time.Now().Truncate(time.Millisecond)
		l := c.leaseOne(by("one"))
		info := c.inspect(t.ID)
		c.between(began, info.Since, "running")
		c.shows(omniq.TaskInfo{
			ID: t.ID, FuncName: "f", Queue: omniq.DefaultQueue, Status: omniq.StatusRunning, Attempts: 1, WorkerID: "one", Task: t,
		}, info)
		s := retry(l)
		s.Delay = short
		began = time.Now().Truncate(time.Millisecond)
		require.NoError(c, c.settle(s))
		info = c.inspect(t.ID)
		c.between(began, info.Since, "pending")
		c.between(began, info.Due.Add(-s.Delay), "due")
		c.shows(omniq.TaskInfo{
			ID: t.ID, FuncName: "f", Queue: omniq.DefaultQueue, Status: omniq.StatusPending, Attempts: 1, WorkerID: "one",
			Error: &boom, Task: t,
		}, info)
		c.leaseOne(by("two"))
		c.shows(omniq.TaskInfo{
			ID: t.ID, FuncName: "f", Queue: omniq.DefaultQueue, Status: omniq.StatusRunning, Attempts: 2, WorkerID: "two",
			Error: &boom, Task: t,
		}, c.inspect(t.ID))
	}},
	{name: "the whole task stays unless it has succeeded, and why it ended", check: func(c *checker) {
		for _, end := range append([]omniq.Status{omniq.StatusSuccess}, deaths...) {
			began := time.Now().Truncate(time.Millisecond)
			t := c.final(end, named("g"), queue("q"), func(t *omniq.RawTask) {
				t.Args, t.Metadata = omniq.Raw(`["all of it"]`), map[string]string{"trace": "x"}
			})
			r := c.result(t.ID)
			want := omniq.TaskInfo{ID: t.ID, FuncName: "g", Queue: "q", Status: end, Attempts: r.Attempts, Error: r.Error, Task: t}
			switch end {
			case omniq.StatusSuccess:
				want.WorkerID, want.Task = "w", nil
			case omniq.StatusFailure:
				want.WorkerID = "w"
			}
			info := c.inspect(t.ID)
			c.between(began, info.Since, end.String())
			c.shows(want, info)
			if end != omniq.StatusSuccess {
				assert.NotNil(c, info.Error, "why it is %v", end)
			}
		}
	}},
	{name: "a task that has succeeded stays as long as its result, if its settlement says so", check: func(c *checker) {
		t := task(queue("q"), func(t *omniq.RawTask) {
			t.Args, t.Metadata = omniq.Raw(`["all of it"]`), map[string]string{"trace": "x"}
			if c.b.Capabilities().Limits {
				t.Lane = "l"
			}
		})
		succeed := func(keep bool, ttl time.Duration) {
			c.Helper()
			s := success(c.leaseOne(from("q")), "1", ttl)
			s.KeepTask = keep
			require.NoError(c, c.settle(s))
		}
		c.enqueue(t)
		s := retry(c.leaseOne(from("q")))
		s.KeepTask = true // which is for another end
		require.NoError(c, c.settle(s))
		succeed(true, long)
		want := omniq.TaskInfo{ID: t.ID, FuncName: "f", Queue: "q", Status: omniq.StatusSuccess, Attempts: 2, WorkerID: "w", Lane: t.Lane, Task: t}
		c.shows(want, c.inspect(t.ID))
		for _, r := range []omniq.ListRequest{{}, {Contains: "all of it"}, {Queue: "q", Lane: t.Lane}} {
			r.Status, r.Max = omniq.StatusSuccess, 9
			page := c.list(r)
			require.Len(c, page, 1, "%+v", r)
			c.shows(want, page[0])
		}
		assert.ErrorIs(c, c.requeue(t.ID), omniq.ErrState)
		assert.ErrorIs(c, c.only(c.b.Requeue(c.Context(), []uuid.UUID{t.ID}, true)), omniq.ErrState)
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
		require.NoError(c, c.forget(t.ID))
		c.unknown(t.ID)
		c.enqueue(t)
		succeed(false, long)
		assert.Nil(c, c.inspect(t.ID).Task, "its last life")
		short := task(queue("q"))
		c.enqueue(short)
		succeed(true, 200*time.Millisecond)
		c.notFound(short.ID)
		c.unknown(short.ID)
		assert.Empty(c, c.list(omniq.ListRequest{Status: omniq.StatusSuccess, Contains: short.ID.String(), Max: 9}))
	}},
	{name: "Inspect and List show when a lease ends, as long as it lasts", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		expires := func(s omniq.Status) time.Time {
			c.Helper()
			info, page := c.inspect(t.ID), c.list(omniq.ListRequest{Status: s, Max: 9})
			require.Len(c, page, 1)
			assert.Equal(c, info.Expires, page[0].Expires, "as Inspect shows it")
			return info.Expires
		}
		assert.Zero(c, expires(omniq.StatusPending))
		l := c.leaseOne(lasting(long / 2))
		assert.WithinDuration(c, l.Expires, expires(omniq.StatusRunning), time.Millisecond)
		assert.Equal(c, time.UTC, expires(omniq.StatusRunning).Location())
		before := time.Now().Add(c.skew)
		require.NoError(c, c.extend(l.LeaseID))
		until := expires(omniq.StatusRunning)
		assert.False(c, until.Before(before.Add(long).Truncate(time.Millisecond)) || until.After(time.Now().Add(c.skew+long)), "extended until %v", until)
		require.NoError(c, c.settle(retry(l)))
		assert.Zero(c, expires(omniq.StatusPending))
		require.NoError(c, c.settle(failure(c.leaseOne(), long)))
		assert.Zero(c, expires(omniq.StatusFailure))
	}},
	{name: "Inspect goes by the attempts that count", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		assert.Equal(c, 1, c.inspect(l.TaskID).Attempts)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		assert.Zero(c, c.inspect(l.TaskID).Attempts)
	}},
	{name: "Inspect knows nothing of a task that is unknown or whose result's TTL is over", check: func(c *checker) {
		c.unknown(uuid.New())
		c.unknown(c.final(omniq.StatusSuccess, resultTTL(0)).ID)
		t := c.final(omniq.StatusFailure, resultTTL(short))
		c.notFound(t.ID)
		c.unknown(t.ID)
	}},
}

// between checks that something was so since a time after began and before now, to the millisecond.
func (c *checker) between(began, at time.Time, what string) {
	c.Helper()
	assert.False(c, at.Before(began) || at.After(time.Now()), "it is %s since %v, want from %v until now", what, at, began)
}

// shows checks what is shown of a task but for the times.
func (c *checker) shows(want omniq.TaskInfo, got *omniq.TaskInfo) {
	c.Helper()
	bare := *got
	bare.Since, bare.Due, bare.Expires = want.Since, want.Due, want.Expires
	assert.Equal(c, want, bare)
}
