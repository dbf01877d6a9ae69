package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// effectsRules say what a settlement does beside ending its lease.
var effectsRules = []rule{
	{name: "a settlement enqueues and cancels tasks, whichever way it ends its lease", needs: flows, check: func(c *checker) {
		for i, end := range endings {
			q := queueOf(i)
			t, waits := task(queue(q)), task(queue("waits"))
			running := task(queue("running"))
			c.enqueue(t, waits, running)
			l, held := c.leaseOf(t), c.leaseOf(running)
			next, later := task(queue("next"+q)), task(queue("later"+q))
			after(next)(later)
			s := end(l)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next, later}, Cancel: []uuid.UUID{waits.ID, held.TaskID}}
			require.NoError(c, c.settle(s))
			c.waiting(later)
			c.cancelled(c.result(waits.ID), 0)
			c.cancelled(c.result(held.TaskID), 1)
			assert.Equal(c, []omniq.LeaseID{held.LeaseID}, c.revoked(c.revoking("w")))
			c.succeed(next, "1")
			c.inputs(c.leaseOf(later), "1")
			if s.Action != omniq.ActionFinish {
				c.succeed(t, "1")
			}
		}
	}},
	{name: "a settlement whose lease is lost has no effects", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Fencing
	}, check: func(c *checker) {
		other := task(queue("other"))
		c.enqueue(task(), task(), other)
		settled, cancelled := c.leaseOne(), c.leaseOne()
		require.NoError(c, c.settle(success(settled, "1", long)))
		require.NoError(c, c.cancel(cancelled.TaskID))
		for _, l := range []omniq.Lease{settled, cancelled, {LeaseID: omniq.LeaseID{TaskID: uuid.New(), Token: "x"}}} {
			next := task()
			s := success(l, "2", long)
			s.Effects = &omniq.Effects{
				Enqueue: []*omniq.RawTask{next}, Cancel: []uuid.UUID{other.ID},
				Notes: omniq.Notes{Progress: omniq.Raw(`{"n":1}`), State: omniq.Raw(`{}`), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}},
			}
			require.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
			c.unknown(next.ID)
		}
		assert.Nil(c, c.inspect(settled.TaskID).Progress)
		assert.Nil(c, c.inspect(cancelled.TaskID).State)
		c.none()
		assert.Equal(c, other.ID, c.leaseOf(other).TaskID)
	}},
	{name: "a settlement brings events, which are kept with it if it takes effect", events: long, needs: flows, check: func(c *checker) {
		for _, end := range endings {
			t := task()
			c.enqueue(t)
			tick := &omniq.TaskEvent{
				TaskID: t.ID, EventType: omniq.EventSkipped, Timestamp: time.Now().UTC().Truncate(time.Microsecond), Queue: "q", Error: &boom,
			}
			s := end(c.leaseOf(t))
			s.Effects = &omniq.Effects{Events: []*omniq.TaskEvent{tick}}
			bad := s
			bad.Effects = &omniq.Effects{Events: []*omniq.TaskEvent{tick, {TaskID: t.ID}}}
			require.ErrorIs(c, c.settle(bad), omniq.ErrInvalid)
			assert.NotContains(c, c.events(t.ID), tick)
			require.NoError(c, c.settle(s))
			assert.Contains(c, c.events(t.ID), tick)
			if caps := c.b.Capabilities(); caps.Fencing {
				before := len(c.events(t.ID))
				require.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
				assert.Len(c, c.events(t.ID), before)
			}
			if s.Action != omniq.ActionFinish {
				c.succeed(t, "1")
			}
		}
	}},
	{name: "a settlement brings events, and nothing of them is kept where none are", events: silent, needs: flows, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		s := success(c.leaseOne(), "1", long)
		s.Effects = &omniq.Effects{Events: []*omniq.TaskEvent{{TaskID: t.ID, EventType: omniq.EventMissed, Timestamp: time.Now().UTC()}}}
		require.NoError(c, c.settle(s))
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
	}},
	{name: "what a settlement brings that is there already is left out, and its holder takes its place", needs: flows, check: func(c *checker) {
		stored, held := task(queue("stored")), task(queue("held"), unique("k"))
		c.enqueue(task(), stored, held)
		again, second := *stored, task(unique("k"))
		fresh := task(queue("fresh"))
		next := task(after(&again, second, fresh), queue("next"))
		s := success(c.leaseOne(), "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{&again, second, fresh, next}}
		require.NoError(c, c.settle(s))
		c.unknown(second.ID)
		c.none()
		assert.Equal(c, []omniq.Dependency{needing(stored), needing(held), needing(fresh)}, c.inspect(next.ID).After)
		c.succeed(held, `"held"`)
		c.succeed(stored, `"stored"`)
		c.succeed(fresh, `"fresh"`)
		c.inputs(c.leaseOf(next), `"stored"`, `"held"`, `"fresh"`)
	}},
	{name: "a handler that runs again brings nothing twice", needs: flows, check: func(c *checker) {
		t, child := task(), task(queue("child"), unique("k"))
		c.enqueue(t)
		s := retry(c.leaseOf(t))
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child}}
		require.NoError(c, c.settle(s))
		c.succeed(child, `"child"`)
		last := task(queue("last"), after(child))
		s = success(c.leaseOf(t), "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child, last}}
		require.NoError(c, c.settle(s))
		c.none(from("child"))
		c.inputs(c.leaseOf(last), `"child"`)
	}},
	{name: "what a finished task brings may wait for it, and take its unique key", needs: flows, check: func(c *checker) {
		for _, keep := range []time.Duration{long, 0} {
			t := task(unique("k"))
			c.enqueue(t)
			next := task(after(t), unique("k"), queue("next"))
			s := success(c.leaseOf(t), `"result"`, keep)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next}}
			require.NoError(c, c.settle(s))
			assert.Equal(c, omniq.StatusPending, c.result(next.ID).Status)
			c.taken(next)
			assert.JSONEq(c, `"result"`, string(c.result(t.ID).ResultData), "it is an input, whatever its TTL")
			l := c.leaseOf(next)
			c.inputs(l, `"result"`)
			require.NoError(c, c.settle(success(l, "1", long)))
			if keep == 0 {
				c.notFound(t.ID)
			}
		}
		failed := task()
		c.enqueue(failed)
		ends, runs := task(after(failed)), task(waitsFor(ending(failed)), queue("runs"))
		s := failure(c.leaseOf(failed), long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{ends, runs}}
		require.NoError(c, c.settle(s))
		c.blocked(ends, failed)
		assert.Equal(c, c.result(failed.ID), c.input(c.leaseOf(runs), 0, 1))
	}},
	{name: "what a task brings that goes on may wait for its end", needs: flows, check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t)
		next, second := task(after(t), queue("next")), task(unique("k"))
		s := retry(c.leaseOf(t))
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next, second}}
		require.NoError(c, c.settle(s))
		c.waiting(next)
		c.unknown(second.ID)
		c.succeed(t, "1")
		c.inputs(c.leaseOf(next), "1")
	}},
	{name: "to cancel what has ended or is unknown is no effect, and what is enqueued can be cancelled at once", needs: flows, check: func(c *checker) {
		done, failed := c.final(omniq.StatusSuccess), c.final(omniq.StatusFailure)
		t := task()
		c.enqueue(t)
		next := task(queue("next"))
		last := task(after(next))
		s := success(c.leaseOf(t), "1", long)
		s.Effects = &omniq.Effects{
			Enqueue: []*omniq.RawTask{next, last}, Cancel: []uuid.UUID{done.ID, uuid.New(), failed.ID, next.ID, t.ID},
		}
		require.NoError(c, c.settle(s))
		assert.Equal(c, omniq.StatusSuccess, c.result(done.ID).Status)
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
		assert.Equal(c, &boom, c.result(failed.ID).Error)
		c.cancelled(c.result(next.ID), 0)
		c.blocked(last, next)
		c.none(from("next", omniq.DefaultQueue))
	}},
	{name: "a settlement with effects that cannot be changes nothing, and the others of its call are done", needs: flows, check: func(c *checker) {
		stranger := task(member(uuid.New()), queue("stranger"))
		victim := task(queue("victim"))
		c.enqueue(stranger, victim)
		for name, change := range map[string]func(*omniq.Effects){
			"an unknown dependency":    func(e *omniq.Effects) { e.Enqueue = append(e.Enqueue, task(after(task()))) },
			"a later dependency":       func(e *omniq.Effects) { e.Enqueue = append([]*omniq.RawTask{task(after(e.Enqueue[0]))}, e.Enqueue...) },
			"a flow of others":         func(e *omniq.Effects) { e.Enqueue = append(e.Enqueue, task(member(stranger.Flow))) },
			"a task without a name":    func(e *omniq.Effects) { e.Enqueue = append(e.Enqueue, task(named(""))) },
			"progress that is no JSON": func(e *omniq.Effects) { e.Progress = omniq.Raw("{") },
			"state that is a list":     func(e *omniq.Effects) { e.State = omniq.Raw("[]") },
			"an item without a stream": func(e *omniq.Effects) { e.Stream = []omniq.StreamItem{{Data: omniq.Raw("1")}} },
		} {
			c.enqueue(task(), task(), task())
			first, bad, last := c.leaseOne(), c.leaseOne(), c.leaseOne()
			s := success(bad, "1", long)
			next := task(queue("next"))
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next}, Cancel: []uuid.UUID{victim.ID}, Notes: omniq.Notes{Progress: omniq.Raw("{}")}}
			change(s.Effects)
			errs, err := c.b.Settle(c.Context(), []omniq.Settlement{success(first, "1", long), s, success(last, "1", long)})
			c.places(errs, err, nil, omniq.ErrInvalid, nil)
			for _, t := range s.Effects.Enqueue {
				c.unknown(t.ID)
			}
			info := c.inspect(bad.TaskID)
			assert.Equal(c, omniq.StatusRunning, info.Status, name)
			assert.Nil(c, info.Progress, name)
			assert.Equal(c, omniq.StatusPending, c.result(victim.ID).Status, name)
			assert.NoError(c, c.settle(success(bad, "1", long)), name)
		}
	}},
	{name: "settlements whose effects contradict their action are refused, and nothing of their call is done", needs: flows, check: func(c *checker) {
		c.enqueue(task(), task())
		l, other := c.leaseOne(), c.leaseOne()
		dep := task(queue("q"))
		c.enqueue(dep)
		finishes := success(l, "1", long)
		finishes.Effects = &omniq.Effects{After: []omniq.Dependency{needing(dep)}}
		wait := func(after ...omniq.Dependency) omniq.Settlement {
			return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{After: after}}
		}
		for name, s := range map[string]omniq.Settlement{
			"what is finished waits": finishes,
			"a wait for nothing":     {LeaseID: l.LeaseID, Action: omniq.ActionWait},
			"a wait for itself":      wait(omniq.Dependency{ID: l.TaskID}),
			"a wait for one twice":   wait(needing(dep), ending(dep)),
			"a wait for no ID":       wait(omniq.Dependency{}),
		} {
			_, err := c.b.Settle(c.Context(), []omniq.Settlement{success(other, "1", long), s})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		for _, l := range []omniq.Lease{l, other} {
			assert.Equal(c, omniq.StatusRunning, c.result(l.TaskID).Status)
			assert.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "a settlement without effects and one with empty ones are the same", needs: flows, check: func(c *checker) {
		c.enqueue(task())
		s := success(c.leaseOne(), "1", long)
		s.Effects = &omniq.Effects{}
		require.NoError(c, c.settle(s))
		assert.JSONEq(c, "1", string(c.result(s.TaskID).ResultData))
		c.none()
	}},
	{name: "the events of what a settlement brings are those of every task", events: long, needs: flows, check: func(c *checker) {
		t, victim := task(), task(queue("victim"))
		c.enqueue(t, victim)
		next, again := task(queue("next")), *t
		s := success(c.leaseOf(t), "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next, &again}, Cancel: []uuid.UUID{victim.ID}}
		require.NoError(c, c.settle(s))
		assert.Equal(c, []string{"ENQUEUED"}, types(c.events(next.ID)))
		assert.Equal(c, []string{"ENQUEUED", "CANCELLED"}, types(c.events(victim.ID)))
		assert.Equal(c, []string{"ENQUEUED", "STARTED", "COMPLETED"}, types(c.events(t.ID)))
	}},
}

// endings are the ways in which a settlement can end a lease, but for ActionWait.
var endings = []func(omniq.Lease) omniq.Settlement{
	func(l omniq.Lease) omniq.Settlement { return success(l, "1", long) },
	func(l omniq.Lease) omniq.Settlement { return failure(l, long) },
	retry,
	func(l omniq.Lease) omniq.Settlement {
		return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}
	},
	func(l omniq.Lease) omniq.Settlement {
		return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer}
	},
}
