package backendtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

// updateRules say what Update does.
var updateRules = []rule{
	{name: "a task that is updated is leased with its new payload, and else as it was enqueued", check: func(c *checker) {
		t := task(func(t *omniq.RawTask) {
			t.FuncName, t.Queue, t.Priority, t.MaxAttempts = "g", "q", 3, 5
			t.Args, t.Kwargs, t.Metadata = omniq.Raw(`[1]`), omniq.Raw(`{"k":2}`), map[string]string{"trace": "x"}
			t.Timeout, t.ResultTTL, t.UniqueKey = time.Minute, new(2*long), "k"
		})
		c.enqueue(t)
		before := c.inspect(t.ID)
		u := updateOf(t, omniq.StatusPending)
		require.NoError(c, c.update(u))
		assert.JSONEq(c, string(u.Kwargs), string(c.inspect(t.ID).Task.Kwargs))
		u.Args, u.Kwargs, u.Codec = omniq.Raw(`["bmV3","bmV3"]`), omniq.Raw("{}"), "zip"
		require.NoError(c, c.update(u), "again, in another codec")
		want := *t
		want.Args, want.Kwargs, want.Codec = u.Args, u.Kwargs, u.Codec
		after := c.inspect(t.ID)
		assert.Equal(c, &want, after.Task)
		after.Task, before.Task = nil, nil
		assert.Equal(c, before, after, "nothing else changes")
		l := c.leaseOne(from("q"))
		assert.Equal(c, &want, l.Task)
		assert.Equal(c, 1, l.Attempt)
		c.taken(&want)
	}},
	{name: "a retry has the payload of an update", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		s := retry(c.leaseOne())
		s.Delay = short
		require.NoError(c, c.settle(s))
		u := updateOf(t, omniq.StatusPending)
		require.NoError(c, c.update(u))
		l := c.leaseOne()
		assert.Equal(c, 2, l.Attempt)
		assert.JSONEq(c, string(u.Args), string(l.Task.Args))
	}},
	{name: "a task that has ended without success is updated, and requeued with its new payload", check: func(c *checker) {
		for _, death := range deaths {
			t := c.final(death)
			before := c.result(t.ID)
			u := updateOf(t, death)
			require.NoError(c, c.update(u), death)
			assert.Equal(c, before, c.result(t.ID), "its result is the same")
			require.NoError(c, c.requeue(t.ID), death)
			l := c.leaseOne()
			assert.Equal(c, t.ID, l.TaskID)
			assert.JSONEq(c, string(u.Args), string(l.Task.Args), "after %v", death)
			assert.JSONEq(c, string(u.Kwargs), string(l.Task.Kwargs), "after %v", death)
			require.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "an update that expects other args changes nothing", check: func(c *checker) {
		t, dead := task(), c.final(omniq.StatusFailure)
		t.Args = omniq.Raw(`[1,"two"]`)
		c.enqueue(t)
		for _, t := range []*omniq.RawTask{t, dead} {
			u := updateOf(t, omniq.StatusPending)
			if t == dead {
				u.Status = omniq.StatusFailure
			}
			for _, was := range []string{`[0]`, `[1, "two"]`, string(u.Args), `x`} {
				u.Was = omniq.Raw(was)
				require.ErrorIs(c, c.update(u), omniq.ErrState, was)
				assert.Equal(c, t, c.inspect(t.ID).Task)
			}
			u.Was = t.Args
			require.NoError(c, c.update(u))
			changed := c.inspect(t.ID).Task
			require.NotNil(c, changed)
			assert.Equal(c, string(u.Args), string(changed.Args))
			require.ErrorIs(c, c.update(u), omniq.ErrState, "they are others now")
		}
		assert.Equal(c, `["new"]`, string(c.leaseOne().Task.Args))
	}},
	{name: "of updates at once that expect the same args one is done", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		const n = 8
		refused := make([][]error, n)
		calls := make([]func() error, n)
		for i := range calls {
			u := updateOf(t, omniq.StatusPending)
			u.Was, u.Args = t.Args, omniq.Raw(fmt.Sprintf("[%d]", i))
			calls[i] = func() (err error) {
				refused[i], err = c.b.Update(c.Context(), []omniq.Update{u})
				return err
			}
		}
		c.atOnce(calls...)
		done := -1
		for i := range refused {
			if err := first(refused[i]); err != nil {
				assert.ErrorIs(c, err, omniq.ErrState)
				continue
			}
			assert.Equal(c, -1, done, "two of them were done")
			done = i
		}
		assert.Equal(c, fmt.Sprintf("[%d]", done), string(c.leaseOne().Task.Args))
	}},
	{name: "an update makes its task due where that is asked for, in one step", check: func(c *checker) {
		t, later, ready := task(delay(long)), task(delay(long), queue("later")), task(queue("ready"))
		c.enqueue(t, later, ready)
		due := c.inspect(ready.ID).Due
		waits := c.leasing()
		now, stays, was, again := updateOf(t, omniq.StatusPending), updateOf(later, omniq.StatusPending), updateOf(later, omniq.StatusPending), updateOf(ready, omniq.StatusPending)
		now.Due, was.Due, was.Was, again.Due = true, true, omniq.Raw(`["other"]`), true
		errs, err := c.b.Update(c.Context(), []omniq.Update{now, stays, was, again})
		c.places(errs, err, nil, nil, omniq.ErrState, nil)
		require.NoError(c, c.ended(waits.done, "a waiting Lease"))
		require.Len(c, waits.leases, 1)
		assert.Equal(c, t.ID, waits.leases[0].TaskID)
		assert.Equal(c, `["new"]`, string(waits.leases[0].Task.Args))
		c.none(from("later"))
		assert.Equal(c, due, c.inspect(ready.ID).Due, "what is due keeps its place")
		dead := c.final(omniq.StatusFailure, queue("dead"))
		u := updateOf(dead, omniq.StatusFailure)
		u.Due = true
		_, err = c.b.Update(c.Context(), []omniq.Update{u})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
	}},
	{name: "each update of a call counts for itself", check: func(c *checker) {
		one, other := task(queue("q")), task(queue("q"))
		c.enqueue(one, task(queue("running")), other)
		running := c.leaseOne(from("running"))
		failed, done := c.final(omniq.StatusFailure), c.final(omniq.StatusSuccess)
		recorded := record(long)
		_, err := c.b.Record(c.Context(), []*omniq.RawResult{recorded})
		require.NoError(c, err)
		foreign := updateOf(one, omniq.StatusPending)
		foreign.FuncName = "g"
		errs, err := c.b.Update(c.Context(), []omniq.Update{
			updateOf(task(), omniq.StatusPending), updateOf(one, omniq.StatusPending), foreign,
			updateOf(running.Task, omniq.StatusPending), updateOf(failed, omniq.StatusCancelled), updateOf(one, omniq.StatusFailure),
			updateOf(done, omniq.StatusPending),
			updateOf(task(func(t *omniq.RawTask) { t.ID = recorded.TaskID }), omniq.StatusPending), updateOf(other, omniq.StatusPending),
		})
		c.places(errs, err, omniq.ErrNotFound, nil, omniq.ErrState, omniq.ErrState, omniq.ErrState, omniq.ErrState, omniq.ErrState,
			omniq.ErrState, nil)
		for range 2 {
			assert.JSONEq(c, `["new"]`, string(c.leaseOne(from("q")).Task.Args))
		}
		assert.Equal(c, failed, c.inspect(failed.ID).Task)
		assert.NoError(c, c.settle(success(running, "1", long)), "its lease goes on")
	}},
	{name: "an update that no worker could read is refused, and nothing of its call is done", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		good := updateOf(t, omniq.StatusPending)
		for name, change := range map[string]func(*omniq.Update){
			"no ID":               func(u *omniq.Update) { u.ID = uuid.Nil },
			"no name":             func(u *omniq.Update) { u.FuncName = "" },
			"no state":            func(u *omniq.Update) { u.Status = 0 },
			"a running task":      func(u *omniq.Update) { u.Status = omniq.StatusRunning },
			"success":             func(u *omniq.Update) { u.Status = omniq.StatusSuccess },
			"args without an end": func(u *omniq.Update) { u.Args = omniq.Raw("[") },
			"args that are none":  func(u *omniq.Update) { u.Args = omniq.Raw("{}") },
			"kwargs that are not": func(u *omniq.Update) { u.Kwargs = omniq.Raw("[]") },
			"no name of a codec":  func(u *omniq.Update) { u.Codec = "a b" },
		} {
			bad := good
			change(&bad)
			_, err := c.b.Update(c.Context(), []omniq.Update{good, bad})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		assert.Equal(c, t, c.leaseOne().Task)
	}},
	{name: "an update that makes its task too large is refused in its place, and the others are done", check: func(c *checker) {
		full, other := task(), task()
		full.Metadata = map[string]string{"much": strings.Repeat("m", 64<<10)}
		c.enqueue(full, other)
		large := updateOf(full, omniq.StatusPending)
		large.Args = omniq.Raw(`["` + strings.Repeat("x", codec.MaxSize-32<<10) + `"]`)
		errs, err := c.b.Update(c.Context(), []omniq.Update{large, updateOf(other, omniq.StatusPending)})
		c.places(errs, err, omniq.ErrInvalid, nil)
		assert.Equal(c, string(full.Args), string(c.leaseOne().Task.Args))
		assert.JSONEq(c, `["new"]`, string(c.leaseOne().Task.Args))
	}},
	{name: "of an update and a Lease at once one comes after the other", check: func(c *checker) {
		const n = 30
		for i := range n {
			t := task()
			c.enqueue(t)
			var refused []error
			var leases []omniq.Lease
			calls := []func() error{func() (err error) {
				refused, err = c.b.Update(c.Context(), []omniq.Update{updateOf(t, omniq.StatusPending)})
				return err
			}, func() (err error) {
				leases, err = c.b.Lease(c.Context(), omniq.LeaseRequest{
					Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: long, Wait: worst, WorkerID: "w",
				})
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			require.Len(c, leases, 1)
			if not := first(refused); not != nil {
				require.ErrorIs(c, not, omniq.ErrState)
				assert.Equal(c, "[]", string(leases[0].Task.Args), "the update came too late")
			} else {
				assert.Equal(c, `["new"]`, string(leases[0].Task.Args), "the update came first")
			}
			require.NoError(c, c.settle(success(leases[0], "1", long)))
		}
	}},
}

// updateOf is another payload for a task that is in a state.
func updateOf(t *omniq.RawTask, s omniq.Status) omniq.Update {
	return omniq.Update{ID: t.ID, FuncName: t.FuncName, Status: s, Args: omniq.Raw(`["new"]`), Kwargs: omniq.Raw(`{"new":true}`)}
}

func (c *checker) update(u omniq.Update) error {
	c.Helper()
	return c.only(c.b.Update(c.Context(), []omniq.Update{u}))
}
