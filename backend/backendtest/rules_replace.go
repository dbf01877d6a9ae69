package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// replaceRules say what becomes of tasks that take the places and the keys of others.
var replaceRules = []rule{
	{name: "a task takes the place of the one that holds its key, and all is as it says but the ID", needs: replaces, check: func(c *checker) {
		lanes := c.b.Capabilities().Limits
		for i, state := range pendings {
			q := queueOf(i)
			t := task(unique(q), queue(q), priority(2), ttl(time.Hour), func(t *omniq.RawTask) {
				t.Args, t.Metadata, t.MaxAttempts, t.Timeout = omniq.Raw(`["old"]`), map[string]string{"old": "x"}, 7, time.Hour
				if lanes {
					t.Lane = "old"
				}
			})
			state.bring(c, t)
			by := task(replace(q), queue("by"+q), priority(3), resultTTL(2*long), func(t *omniq.RawTask) {
				t.Args, t.Kwargs, t.Codec = omniq.Raw(`["AAAA","AAAA"]`), omniq.Raw(`{}`), "gob"
				t.Metadata, t.MaxAttempts, t.Timeout = map[string]string{"new": "y"}, 5, time.Minute
				t.CreatedAt = t.CreatedAt.Add(-time.Second)
				if lanes {
					t.Lane = "new"
				}
			})
			c.replaced(by, t.ID)
			c.unknown(by.ID)
			stats, err := c.b.Stats(c.Context())
			require.NoError(c, err)
			for _, s := range stats {
				assert.NotEqual(c, q, s.Queue, "nothing is left there: %v", s)
				if s.Queue == "by"+q {
					assert.Equal(c, []int{1, 0, 0, 0}, []int{s.Ready, s.Scheduled, s.Running, s.Waiting}, state.name)
				}
			}
			c.none(from(q))
			c.taken(t)
			want := *by
			want.ID = t.ID
			assert.Equal(c, &want, c.inspect(t.ID).Task, state.name)
			l := c.leaseOne(from("by" + q))
			assert.Equal(c, &want, l.Task, state.name)
			c.none(from("by" + q))
			require.NoError(c, c.settle(success(l, "1", long)))
			c.enqueue(task(unique(q), queue("free")))
		}
	}},
	{name: "a task that takes a place has its own TTL", needs: replaces, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(unique(q), ttl(d), queue(q))
			c.enqueue(t)
			errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(replace(q), queue(q))})
			if first(errs) == nil {
				return false // it had expired
			}
			require.NoError(c, err)
			assert.Empty(c, c.lease(1, 2*d, from("none")))
			assert.Equal(c, t.ID, c.leaseOne(from(q)).TaskID)
			return true
		})
		t := task(unique("k"))
		c.enqueue(t)
		c.replaced(task(replace("k"), ttl(short)), t.ID)
		c.becomes(t, omniq.StatusExpired)
		c.enqueue(task(unique("k")))
	}},
	{name: "what a task had come to is gone when another takes its place", needs: replaces, check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t)
		c.leaseOne(lasting(short))
		l := c.leaseOne() // the first one is lost
		if c.b.Capabilities().Notes {
			errs, err := c.b.Note(c.Context(), []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: omniq.Notes{
				Progress: omniq.Raw(`{"n":1}`), State: omniq.Raw(`{"n":2}`), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("3")}},
			}}})
			c.places(errs, err, nil)
		}
		s := retry(l)
		s.Delay = long
		require.NoError(c, c.settle(s))
		c.replaced(task(replace("k")), t.ID)
		info := c.inspect(t.ID)
		assert.Equal(c, []int{0, 0}, []int{info.Attempts, info.Lost})
		assert.Nil(c, info.Error)
		assert.Nil(c, info.Progress)
		assert.Nil(c, info.State)
		assert.Empty(c, info.WorkerID)
		if c.b.Capabilities().Notes {
			page, err := c.b.Stream(c.Context(), omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 1})
			require.NoError(c, err)
			assert.Empty(c, page.Items)
		}
		l = c.leaseOne()
		assert.Equal(c, []int{1, 0}, []int{l.Attempt, l.Lost})
		assert.Nil(c, l.State)
		assert.Zero(c, l.Deferred)
	}},
	{name: "a task that takes a place is enqueued, as events tell", events: long, needs: allOf(replaces, tells), check: func(c *checker) {
		t := task(unique("k"), delay(long))
		c.enqueue(t)
		by := task(replace("k"), queue("q"))
		c.replaced(by, t.ID)
		assert.Empty(c, c.events(by.ID))
		got := c.events(t.ID)
		require.Len(c, got, 2)
		assert.Equal(c, []omniq.EventType{omniq.EventEnqueued, omniq.EventEnqueued}, []omniq.EventType{got[0].EventType, got[1].EventType})
		assert.Equal(c, "q", got[1].Queue)
	}},
	{name: "a task that takes a place is due when it says", needs: replaces, check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t)
		c.replaced(task(replace("k"), delay(long)), t.ID)
		c.none()
		w := c.leasing()
		c.blocks(w.done, "Lease")
		c.replaced(task(replace("k")), t.ID)
		require.NoError(c, c.settle(success(c.leased(w), "1", long)))
		c.inTime(func(d time.Duration, q string) bool {
			t := task(unique(q), queue(q))
			c.enqueue(t)
			at := soon(d)
			c.replaced(task(replace(q), queue(q), runAt(at)), t.ID)
			if !c.noneUntil(at, q) {
				return false
			}
			c.leaseOne(from(q))
			return true
		})
	}},
	{name: "a task that takes a place is put off until ReplaceWithin after the first one, and no longer", needs: replaces, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			began := time.Now()
			t := task(unique(q), queue(q), delay(2*d))
			c.enqueue(t)
			stored, put := time.Now(), began
			var l []omniq.Lease
			n := 0
			for ; len(l) == 0; n++ { // a steady stream
				if time.Since(began) > 3*d+worst {
					require.Fail(c, "it is put off for ever")
				}
				if l = c.lease(1, d/4, from(q)); len(l) > 0 {
					break
				}
				put = time.Now()
				errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(replace(q), queue(q), delay(2*d), within(3*d), func(t *omniq.RawTask) {
					t.Args = omniq.Raw(fmt.Sprintf("[%d]", n+1))
				})})
				require.NoError(c, err)
				if first(errs) == nil {
					return false // it was leased meanwhile
				}
			}
			if !time.Now().Before(put.Add(2 * d).Truncate(time.Millisecond)) {
				return false // the stream was not steady
			}
			assert.Equal(c, t.ID, l[0].TaskID)
			assert.JSONEq(c, fmt.Sprintf("[%d]", n), string(l[0].Task.Args), "the last one")
			assert.False(c, time.Now().Before(began.Add(3*d).Truncate(time.Millisecond)), "it was due too early")
			due := c.inspect(t.ID).Due
			assert.WithinRange(c, due, began.Add(3*d-time.Millisecond), stored.Add(3*d+time.Millisecond))
			return true
		})
	}},
	{name: "after an attempt the time of ReplaceWithin begins anew", needs: replaces, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(unique(q), queue(q))
			c.enqueue(t)
			s := retry(c.leaseOne(from(q)))
			s.Delay = long
			require.NoError(c, c.settle(s))
			c.blocksFor(d, make(chan error), "nothing")
			until := soon(d)
			c.replaced(task(replace(q), queue(q), delay(d), within(d)), t.ID)
			if !c.noneUntil(until, q) {
				return false
			}
			c.leaseOne(from(q))
			return true
		})
	}},
	{name: "a task that is due at once keeps the place in line of the one that it replaces", needs: replaces, check: func(c *checker) {
		first, second, third := task(unique("a")), task(), task(unique("b"))
		c.enqueue(first, second, third)
		c.replaced(task(replace("a")), first.ID)
		c.replaced(task(replace("b"), runAt(first.CreatedAt.Add(-time.Hour))), third.ID)
		assert.Equal(c, []uuid.UUID{third.ID, first.ID, second.ID}, []uuid.UUID{c.leaseOne().TaskID, c.leaseOne().TaskID, c.leaseOne().TaskID})
		if c.b.Capabilities().Limits { // and so does its lane
			first, second := task(unique("c"), lane("one")), task(lane("other"))
			c.enqueue(first, second)
			c.replaced(task(replace("c"), lane("one")), first.ID)
			assert.Equal(c, []uuid.UUID{first.ID, second.ID}, []uuid.UUID{c.leaseOne().TaskID, c.leaseOne().TaskID})
		}
	}},
	{name: "who waits for a task gets the result of the one that takes its place", needs: replaces, check: func(c *checker) {
		t := task(unique("k"), delay(long))
		c.enqueue(t)
		w := c.awaiting(t.ID)
		c.blocks(w.done, "Await")
		c.replaced(task(replace("k")), t.ID)
		require.NoError(c, c.settle(success(c.leaseOne(), `"new"`, long)))
		assert.JSONEq(c, `"new"`, string(c.got(w).ResultData))
	}},
	{name: "who depends on a task gets the result of the one that takes its place", needs: replacesInFlows, check: func(c *checker) {
		t := task(unique("k"), queue("q"))
		next := task(after(t), queue("next"))
		c.enqueue(t, next)
		by := task(replace("k"), queue("q"))
		last := task(after(by), queue("last"))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{by, last})
		c.places(errs, err, omniq.ErrDuplicate, nil)
		c.waiting(next, last)
		assert.Equal(c, []omniq.Dependency{needing(t)}, c.inspect(last.ID).After)
		c.succeed(t, `"new"`)
		c.inputs(c.leaseOf(next), `"new"`)
		c.inputs(c.leaseOf(last), `"new"`)
	}},
	{name: "a task that is under way loses its key to another, and goes on", needs: replaces, check: func(c *checker) {
		for _, ahead := range []int{0, 1} {
			q := queueOf(ahead)
			t := task(unique(q), queue(q))
			c.enqueue(t)
			l := c.leaseOne(from(q), func(r *omniq.LeaseRequest) { r.Ahead = ahead })
			by := task(replace(q), queue(q))
			c.enqueue(by)
			c.taken(by)
			other := c.leaseOf(by)
			assert.Equal(c, by, other.Task)
			c.enqueue(task(replace(q), queue("third"+q)))
			require.NoError(c, c.extend(l.LeaseID))
			require.NoError(c, c.settle(retry(l)))
			l = c.leaseOf(t)
			assert.Equal(c, t, l.Task)
			require.NoError(c, c.settle(success(l, "1", long)))
			require.NoError(c, c.settle(success(other, "2", long)))
		}
	}},
	{name: "a task that has handed over to others is under way", needs: replacesInFlows, check: func(c *checker) {
		t, child := task(unique("k"), queue("q")), task(queue("child"))
		c.enqueue(t)
		require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{child}, needing(child))))
		by := task(replace("k"), queue("by"))
		c.enqueue(by)
		c.succeed(child, "1")
		third := task(unique("k"), queue("q")) // it comes to nothing
		c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{third})), third.ID, by.ID)
		l := c.leaseOf(t)
		assert.True(c, l.Resumed)
		c.inputs(l, "1")
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Delay: long}))
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
		_, err := c.b.Free(c.Context(), []omniq.UniqueKey{{FuncName: "f", Key: "k"}})
		require.NoError(c, err)
		c.succeed(by, "2")
	}},
	{name: "a key is freed by the end of its holder alone", needs: replaces, check: func(c *checker) {
		for i, end := range []func(omniq.Lease){
			func(l omniq.Lease) { require.NoError(c, c.settle(success(l, "1", long))) },
			func(l omniq.Lease) { require.NoError(c, c.settle(failure(l, long))) },
			func(l omniq.Lease) { require.NoError(c, c.cancel(l.TaskID)) },
		} {
			q := queueOf(i)
			t := task(unique(q), queue(q))
			c.enqueue(t)
			l := c.leaseOf(t)
			by := task(replace(q), queue(q))
			c.enqueue(by)
			end(l)
			c.taken(by)
			if c.result(t.ID).Status != omniq.StatusSuccess {
				c.duplicate(c.requeue(t.ID), t.ID, by.ID)
			}
			require.NoError(c, c.settle(failure(c.leaseOf(by), long)))
			next := task(unique(q), queue(q))
			c.enqueue(next)
			c.duplicate(c.requeue(by.ID), by.ID, next.ID)
		}
	}},
	{name: "a task waits behind the one that is under way, until that has ended in whatever way", needs: replacesInFlows, check: func(c *checker) {
		for _, status := range append([]omniq.Status{omniq.StatusSuccess}, deaths...) {
			q := status.String()
			var t *omniq.RawTask
			var l omniq.Lease
			if status == omniq.StatusExpired {
				c.inTime(func(d time.Duration, name string) bool {
					q, t = name, task(unique(name), queue(name), ttl(d))
					c.enqueue(t)
					leases := c.lease(1, d, from(q), lasting(d))
					if len(leases) == 0 {
						return false // it has expired
					}
					l = leases[0]
					return true
				})
			} else {
				t = task(unique(q), queue(q))
				c.enqueue(t)
				l = c.leaseOf(t)
			}
			by := task(behind(q), queue("by"+q))
			c.enqueue(by)
			c.taken(by)
			if status != omniq.StatusExpired { // which may be over by now
				c.waiting(by)
				assert.Equal(c, []omniq.Dependency{{ID: t.ID, Need: omniq.NeedFinal}}, c.inspect(by.ID).After)
				c.none(from("by" + q))
			}
			switch status {
			case omniq.StatusExpired:
				c.becomes(t, status)
			case omniq.StatusCancelled:
				require.NoError(c, c.cancel(t.ID))
			default:
				s := retry(l)
				require.NoError(c, c.settle(s))
				c.waiting(by)
				c.none(from("by" + q))
				if l = c.leaseOf(t); status == omniq.StatusSuccess {
					require.NoError(c, c.settle(success(l, "1", 0)))
				} else {
					require.NoError(c, c.settle(failure(l, 0)))
				}
			}
			next := c.leaseOf(by)
			assert.Equal(c, by, next.Task, "as it was enqueued")
			c.taken(by)
			require.NoError(c, c.settle(success(next, "1", long)))
			c.enqueue(task(unique(q), queue("free")))
		}
	}},
	{name: "at most one task waits behind another: the latest", needs: replacesInFlows, check: func(c *checker) {
		t := task(behind("k"), queue("q"))
		c.enqueue(t)
		l := c.leaseOf(t)
		waits := task(behind("k"), queue("q"))
		c.enqueue(waits)
		c.waiting(waits)
		c.replaced(task(behind("k"), queue("q")), waits.ID)
		last := task(replace("k"), queue("q"), within(long), delay(short), func(t *omniq.RawTask) { t.Args = omniq.Raw(`["last"]`) })
		c.replaced(last, waits.ID)
		c.waiting(waits)
		c.none(from("q"))
		assert.Equal(c, []omniq.Dependency{{ID: t.ID, Need: omniq.NeedFinal}}, c.inspect(waits.ID).After)
		began := time.Now()
		require.NoError(c, c.settle(success(l, "1", long)))
		next := c.leaseOf(waits)
		assert.False(c, time.Since(began) < short-time.Millisecond, "its delay is counted from the end")
		assert.JSONEq(c, `["last"]`, string(next.Task.Args))
		third := task(behind("k"), queue("q"))
		c.enqueue(third)
		c.waiting(third)
		require.NoError(c, c.settle(success(next, "1", long)))
		c.succeed(third, "1")
	}},
	{name: "a task that waits behind another expires, or is cancelled, by itself", needs: replacesInFlows, check: func(c *checker) {
		t := task(unique("k"), queue("q"))
		c.enqueue(t)
		l := c.leaseOf(t)
		waits := task(behind("k"), queue("by"), ttl(short))
		c.enqueue(waits)
		c.becomes(waits, omniq.StatusExpired)
		waits = task(behind("k"), queue("by"))
		c.enqueue(waits) // at once: nobody holds the key
		assert.Equal(c, omniq.StatusPending, c.result(waits.ID).Status)
		require.NoError(c, c.cancel(waits.ID))
		c.enqueue(task(unique("k")))
		require.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "a task that waited behind another and has failed can be requeued", needs: replacesInFlows, check: func(c *checker) {
		t := task(unique("k"), queue("q"))
		c.enqueue(t)
		l := c.leaseOf(t)
		waits := task(behind("k"), queue("by"))
		c.enqueue(waits)
		require.NoError(c, c.settle(success(l, "1", 0)))
		require.NoError(c, c.settle(failure(c.leaseOf(waits), long)))
		require.NoError(c, c.requeue(waits.ID))
		c.taken(waits)
		c.succeed(waits, "1")
	}},
	{name: "what others have made of a task that waits is not replaced", needs: replacesInFlows, check: func(c *checker) {
		dep := task(queue("dep"))
		c.enqueue(dep)
		for i, change := range []func(*omniq.RawTask){member(uuid.New()), after(dep), manual} {
			key := queueOf(i)
			t := task(unique(key), queue(key), change)
			c.enqueue(t)
			was := c.inspect(t.ID)
			for _, mode := range []func(*omniq.RawTask){replace(key), behind(key)} {
				by := task(mode, queue("by"))
				c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{by})), by.ID, t.ID)
				same := task(unique("in the call"+key), change, queue(key))
				same.Flow = uuid.Nil
				if t.Flow != uuid.Nil {
					same.Flow = uuid.New()
				}
				by.ID, by.UniqueKey = uuid.New(), same.UniqueKey
				errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{same, by})
				require.NoError(c, err)
				require.Len(c, errs, 2)
				c.duplicate(errs[1], by.ID, same.ID)
				require.NoError(c, c.cancel(same.ID))
			}
			assert.Equal(c, was, c.inspect(t.ID))
		}
		c.none(from("by"))
	}},
	{name: "a key that is held for a time, and an ID that is taken, refuse each task", needs: replaces, check: func(c *checker) {
		timed, t := task(unique("timed"), lasts(long)), task(unique("k"), delay(long))
		c.enqueue(timed, t)
		for _, state := range []string{"pending", "running", "final"} {
			by := task(replace("timed"), queue("by"))
			c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{by})), by.ID, timed.ID)
			switch state {
			case "pending":
				c.leaseOne()
			case "running":
				require.NoError(c, c.cancel(timed.ID))
			}
		}
		same := task(replace("k"), queue("by"))
		same.ID = t.ID
		c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{same})), t.ID, t.ID)
		same.ID = timed.ID
		c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{same})), timed.ID, timed.ID)
		c.none(from("by"))
	}},
	{name: "of two tasks of a call with one key the later takes the place of the earlier", needs: replaces, check: func(c *checker) {
		t := task(replace("k"))
		second, third := task(replace("k")), task(replace("k"), priority(4))
		other, refused := task(replace("l")), task(unique("k"))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t, second, other, third, refused})
		require.NoError(c, err)
		require.Len(c, errs, 5)
		assert.NoError(c, errs[0])
		assert.Equal(c, omniq.Duplicate{ID: second.ID, Holder: t.ID, Replaced: true}, errs[1])
		assert.NoError(c, errs[2])
		assert.Equal(c, omniq.Duplicate{ID: third.ID, Holder: t.ID, Replaced: true}, errs[3])
		c.duplicate(errs[4], refused.ID, t.ID)
		leases := c.lease(9, worst)
		require.Len(c, leases, 2)
		slices.SortFunc(leases, func(a, b omniq.Lease) int { return b.Task.Priority - a.Task.Priority })
		assert.Equal(c, []uuid.UUID{t.ID, other.ID}, []uuid.UUID{leases[0].TaskID, leases[1].TaskID})
		assert.Equal(c, 4, leases[0].Task.Priority)
		again, last := task(behindIf(c, "k"), queue("later")), task(replace("k"), queue("later"), priority(1))
		errs, err = c.b.Enqueue(c.Context(), []*omniq.RawTask{again, last, task(queue("later"))}) // while it runs
		require.NoError(c, err)
		assert.Equal(c, []error{nil, omniq.Duplicate{ID: last.ID, Holder: again.ID, Replaced: true}, nil}, errs)
	}},
	{name: "what a settlement enqueues takes places, too", needs: replacesInFlows, check: func(c *checker) {
		for i, end := range endings {
			q := queueOf(i)
			t, waits, runs := task(queue(q)), task(unique("waits"+q), queue("waits"+q)), task(unique("runs"+q), queue("runs"+q))
			c.enqueue(t, waits, runs)
			l, held := c.leaseOf(t), c.leaseOf(runs)
			one, two := task(replace(waits.UniqueKey), queue("waits"+q), priority(1)), task(behind(runs.UniqueKey), queue("runs"+q))
			next := task(after(one), queue("next"+q))
			s := end(l)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{one, two, next}}
			require.NoError(c, c.settle(s))
			c.unknown(one.ID)
			c.waiting(two, next)
			replaced := c.leaseOf(waits)
			assert.Equal(c, 1, replaced.Task.Priority)
			require.NoError(c, c.settle(success(replaced, `"one"`, long)))
			c.inputs(c.leaseOf(next), `"one"`)
			require.NoError(c, c.settle(success(held, "1", long)))
			c.succeed(two, "2")
		}
	}},
	{name: "what a task enqueues at its end can have its key", needs: replacesInFlows, check: func(c *checker) {
		for i, mode := range []func(string) func(*omniq.RawTask){replace, behind} {
			q := queueOf(i)
			t := task(unique(q), queue(q))
			c.enqueue(t)
			l := c.leaseOf(t)
			by := task(mode(q), queue(q))
			s := success(l, "1", long)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{by}}
			require.NoError(c, c.settle(s))
			c.taken(by)
			l = c.leaseOf(by)
			assert.Equal(c, by, l.Task)
			third := task(mode(q), queue(q), priority(1))
			s = retry(l)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{third}}
			require.NoError(c, c.settle(s))
			l = c.leaseOf(by)
			assert.Equal(c, 1, l.Task.Priority, "its retry was replaced")
			require.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "a task cannot hand over to one that waits for it", needs: replacesInFlows, check: func(c *checker) {
		t := task(unique("k"), queue("q"))
		c.enqueue(t)
		l := c.leaseOf(t)
		by := task(behind("k"), queue("by"))
		require.ErrorIs(c, c.settle(handover(l, []*omniq.RawTask{by}, noInput(by))), omniq.ErrInvalid)
		c.unknown(by.ID)
		c.taken(t)
		c.enqueue(by)
		third := task(behind("k"), queue("by"))
		require.ErrorIs(c, c.settle(handover(l, []*omniq.RawTask{third}, noInput(third))), omniq.ErrInvalid)
		require.ErrorIs(c, c.settle(handover(l, nil, noInput(by))), omniq.ErrInvalid)
		other := task(queue("other"))
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{other}, noInput(other))))
		c.succeed(other, "1")
		c.succeed(t, "1")
		c.succeed(by, "1")
	}},
	{name: "what replaces while workers lease is run, or what came after it, once", needs: replaces, check: func(c *checker) {
		c.stampede(c, replace("k"), nil)
	}},
	{name: "what replaces while workers lease and others wait behind them is run, or what came after it, once", needs: replacesInFlows, check: func(c *checker) {
		var running atomic.Int64
		c.stampede(c, behind("k"), &running)
	}},
}

// replaces says that tasks take the places of others.
func replaces(c omniq.Capabilities) bool { return c.Replaces }

func replacesInFlows(c omniq.Capabilities) bool { return c.Replaces && c.Flows }

// replace and behind give a task a key, and what is to become of it when that is held.
func replace(key string) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.UniqueKey, t.OnHeld = key, omniq.HeldReplace }
}

func behind(key string) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.UniqueKey, t.OnHeld = key, omniq.HeldBehind }
}

// behindIf is behind, where the engine can do so, and else replace.
func behindIf(c *checker, key string) func(*omniq.RawTask) {
	if replacesInFlows(c.b.Capabilities()) {
		return behind(key)
	}
	return replace(key)
}

func within(d time.Duration) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.ReplaceWithin = d }
}

// pendings are the ways in which a task is pending.
var pendings = []struct {
	name  string
	bring func(c *checker, t *omniq.RawTask)
}{
	{"due", func(c *checker, t *omniq.RawTask) { c.enqueue(t) }},
	{"waits for its time", func(c *checker, t *omniq.RawTask) {
		t.Delay = long
		c.enqueue(t)
	}},
	{"waits for a retry", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		s := retry(c.leaseOf(t))
		s.Delay = long
		require.NoError(c, c.settle(s))
	}},
	{"was given back", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: c.leaseOf(t).LeaseID, Action: omniq.ActionDefer}))
	}},
	{"was replaced before", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		by := *t
		by.ID, by.OnHeld, by.Delay, by.Queue = uuid.New(), omniq.HeldReplace, long, "other"
		c.replaced(&by, t.ID)
	}},
}

// replaced enqueues a task that takes the place of the holder of its key.
func (c *checker) replaced(t *omniq.RawTask, holder uuid.UUID) {
	c.Helper()
	err := c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t}))
	require.ErrorIs(c, err, omniq.ErrDuplicate)
	var d omniq.Duplicate
	require.True(c, errors.As(err, &d), "%v is no Duplicate", err)
	require.Equal(c, omniq.Duplicate{ID: t.ID, Holder: holder, Replaced: true}, d)
}
