package backendtest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// historyRules say what is told of what was done.
var historyRules = []rule{
	{name: "History counts what becomes of tasks, by queue and function", check: func(c *checker) {
		assert.Empty(c, c.past())
		want := make(sums)
		agree := func(what string) {
			c.Helper()
			assert.Equal(c, want, c.past().counts(), what)
		}
		c.enqueue(task(queue("q")), task(queue("q")), task(queue("q"), named("g")), task(), task(delay(long)))
		want.at("q", "f").Enqueued, want.at("q", "g").Enqueued, want.at(omniq.DefaultQueue, "f").Enqueued = 2, 1, 2
		agree("enqueued")
		leases := c.lease(9, 0, from("q"))
		require.Len(c, leases, 3)
		want.at("q", "f").Started, want.at("q", "g").Started = 2, 1
		agree("started")
		slices.SortStableFunc(leases, func(a, b omniq.Lease) int { return strings.Compare(a.Task.FuncName, b.Task.FuncName) })
		require.NoError(c, c.settle(success(leases[0], "1", 0)))
		require.NoError(c, c.settle(failure(leases[1], long)))
		require.NoError(c, c.settle(retry(leases[2])))
		want.at("q", "f").Succeeded, want.at("q", "f").Failed, want.at("q", "g").Retried = 1, 1, 1
		agree("settled")
		l := c.leaseOne(from("q"))
		want.at("q", "g").Started = 2
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		agree("released")
		require.NoError(c, c.cancel(l.TaskID))
		want.at("q", "g").Cancelled = 1
		agree("cancelled")
		require.NoError(c, c.requeue(leases[1].TaskID))
		want.at("q", "f").Enqueued = 3
		agree("requeued")
		l = c.leaseOne(aheadOfTurn)
		agree("taken ahead")
		require.NoError(c, c.start(l.LeaseID))
		want.at(omniq.DefaultQueue, "f").Started = 1
		agree("started")
		require.NoError(c, c.start(l.LeaseID))
		agree("started again")
		require.ErrorIs(c, c.forget(leases[0].TaskID), omniq.ErrNotFound)
		require.NoError(c, c.settle(success(l, "1", long)))
		want.at(omniq.DefaultQueue, "f").Succeeded = 1
		require.NoError(c, c.forget(l.TaskID))
		agree("forgotten")
	}},
	{name: "History counts what happens by itself", check: func(c *checker) {
		want := make(sums)
		brief := task(queue("q"), ttl(short))
		c.enqueue(brief, task(queue("lost")))
		c.leaseOne(from("lost"), lasting(short))
		want.at("q", "f").Enqueued, want.at("q", "f").Expired = 1, 1
		want.at("lost", "f").Enqueued, want.at("lost", "f").Started = 1, 2
		assert.Equal(c, 1, c.leaseOne(from("lost")).Lost)
		c.eventually("all is counted", func() bool { return assert.ObjectsAreEqual(want, c.past().counts()) })
	}},
	{name: "History counts what was done, and nothing that was refused", check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t)
		l := c.leaseOne()
		want := c.past()
		for _, again := range []*omniq.RawTask{t, task(unique("k"))} {
			_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{again})
			require.NoError(c, err)
		}
		_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(), task(func(t *omniq.RawTask) { t.ID = uuid.Nil })})
		require.ErrorIs(c, err, omniq.ErrInvalid)
		if c.b.Capabilities().Fencing {
			stale := l
			stale.Token = "1" + stale.Token
			s := success(stale, "1", long)
			s.Took = time.Hour
			require.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
		}
		require.ErrorIs(c, c.requeue(t.ID), omniq.ErrState)
		_, err = c.b.Record(c.Context(), []*omniq.RawResult{record(long)})
		require.NoError(c, err)
		require.NoError(c, c.b.Pause(c.Context(), "q"))
		assert.Equal(c, want, c.past())
	}},
	{name: "History sums how long tasks were due when they started, and how long their handlers ran", check: func(c *checker) {
		at := soon(-time.Hour)
		c.enqueue(task(queue("q"), runAt(at)), task(queue("q"), runAt(at)), task(queue("q"), named("g")), task(queue("q"), named("h"), runAt(at)))
		leases := c.lease(3, 0, from("q"))
		require.Len(c, leases, 3)
		late := c.lease(1, 0, from("q"), aheadOfTurn)
		require.Len(c, late, 1)
		assert.Equal(c, "g", late[0].Task.FuncName)
		c.waited("f", 2*time.Hour)
		c.waited("h", time.Hour)
		assert.Zero(c, c.past().of("q", "g").Wait, "it was taken ahead")
		for i := range leases {
			if leases[i].Task.FuncName == "h" {
				s := retry(leases[i])
				s.Took = time.Minute
				require.NoError(c, c.settle(s))
				continue
			}
			s := success(leases[i], "1", long)
			s.Took = time.Duration(i+1) * 1500 * time.Microsecond
			require.NoError(c, c.settle(s))
		}
		s := failure(c.leaseOne(from("q")), long)
		s.Took = time.Second
		require.NoError(c, c.settle(s))
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: late[0].LeaseID, Action: omniq.ActionRelease, Took: time.Hour}))
		got := c.past()
		assert.Equal(c, 3*1500*time.Microsecond, got.of("q", "f").Run)
		assert.Equal(c, time.Minute+time.Second, got.of("q", "h").Run)
		assert.Zero(c, got.of("q", "g").Run, "it was given back")
	}},
	{name: "each minute of History is a whole one, and there once for a queue and a function", check: func(c *checker) {
		c.minutes()
		c.enqueue(task(queue("a"), named("z")), task(queue("a"), named("b")), task(queue("ab")), task(queue("B")), task(queue("a"), named("z")))
		c.leaseOne(from("a"))
		c.minutes()
	}},
	{name: "History has what events tell", events: long, check: func(c *checker) {
		for _, s := range omniq.Statuses() {
			if s.Final() {
				c.final(s, queue("q"))
				c.final(s, queue("r"), named("g"))
			}
		}
		r := c.final(omniq.StatusFailure, queue("q"))
		require.NoError(c, c.requeue(r.ID))
		require.NoError(c, c.settle(retry(c.leaseOne(from("q")))))
		if c.b.Capabilities().Flows {
			first := task(queue("flow"))
			second := task(queue("flow"), func(t *omniq.RawTask) { t.After = []omniq.Dependency{{ID: first.ID}} })
			c.enqueue(first, second)
			require.NoError(c, c.settle(failure(c.leaseOne(from("flow")), long)))
			assert.ErrorIs(c, c.await(second.ID).Error, omniq.ErrDependency)
			manual := task(queue("flow"), func(t *omniq.RawTask) { t.Manual = true })
			c.enqueue(manual)
			require.NoError(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{resolution(manual, "1")})))
			c.enqueue(task(queue("parent")))
			s := success(c.leaseOne(from("parent")), "1", long)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{task(queue("flow"))}, Cancel: []uuid.UUID{r.ID}}
			require.NoError(c, c.settle(s))
		}
		told := make(map[string]map[omniq.EventType]int)
		page, _, err := c.b.Events(c.Context(), omniq.EventsRequest{Max: 10_000})
		require.NoError(c, err)
		for _, e := range page {
			if told[e.Queue] == nil {
				told[e.Queue] = make(map[omniq.EventType]int)
			}
			told[e.Queue][e.EventType]++
		}
		counted := make(map[string]map[omniq.EventType]int)
		for _, m := range c.past() {
			if counted[m.Queue] == nil {
				counted[m.Queue] = make(map[omniq.EventType]int)
			}
			for what, n := range map[omniq.EventType]int{
				omniq.EventEnqueued: m.Enqueued, omniq.EventStarted: m.Started, omniq.EventCompleted: m.Succeeded, omniq.EventFailed: m.Failed,
				omniq.EventRetried: m.Retried, omniq.EventCancelled: m.Cancelled, omniq.EventExpired: m.Expired,
			} {
				if n > 0 {
					counted[m.Queue][what] += n
				}
			}
		}
		assert.Equal(c, told, counted)
	}},
	{name: "what is done in very many queues is counted, for each or together", check: func(c *checker) {
		const n = 3 * omniq.MaxPlaces
		for range 2 {
			var tasks []*omniq.RawTask
			for i := range n {
				tasks = append(tasks, task(queue("q"+strconv.Itoa(i)), named("f"+strconv.Itoa(i%7))))
			}
			c.enqueue(tasks...)
		}
		sum, places := make(map[string]int), 0
		for _, m := range c.minutes() {
			sum[m.FuncName] += m.Enqueued
			if m.Queue != "" {
				places++
			}
		}
		assert.GreaterOrEqual(c, places, omniq.MaxPlaces)
		for i := range 7 {
			assert.Equal(c, 2*(n/7+min(1, max(0, n%7-i))), sum["f"+strconv.Itoa(i)], "each function is told apart")
		}
	}},
	{name: "a history that cannot be is refused", check: func(c *checker) {
		c.enqueue(task())
		for _, last := range []time.Duration{0, -1} {
			_, err := c.b.History(c.Context(), last)
			assert.ErrorIs(c, err, omniq.ErrInvalid)
		}
		for _, last := range []time.Duration{time.Hour, 1<<63 - 1} {
			minutes, err := c.b.History(c.Context(), last)
			require.NoError(c, err)
			assert.Len(c, minutes, 1, "%v", last)
		}
		c.enqueue(task())
		l := c.leaseOne()
		s := success(l, "1", long)
		s.Took = -1
		_, err := c.b.Settle(c.Context(), []omniq.Settlement{s})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
	}},
}

// place is a queue and a function.
type place struct{ queue, name string }

// sums are what was done in all minutes.
type sums map[place]*omniq.Minute

func (s sums) at(queue, name string) *omniq.Minute {
	p := place{queue, name}
	if s[p] == nil {
		s[p] = &omniq.Minute{Queue: queue, FuncName: name}
	}
	return s[p]
}

// of is what was done with some tasks.
func (s sums) of(queue, name string) omniq.Minute { return *s.at(queue, name) }

// counts is sums without what changes with the time.
func (s sums) counts() sums {
	all := make(sums)
	for p, m := range s {
		bare := *m
		bare.Wait, bare.Run = 0, 0
		all[p] = &bare
	}
	return all
}

// minutes returns what was done, and checks what holds for each minute.
func (c *checker) minutes() []omniq.Minute {
	c.Helper()
	began := time.Now()
	minutes, err := c.b.History(c.Context(), time.Hour)
	require.NoError(c, err)
	for i, m := range minutes {
		require.Equal(c, m.Start.Truncate(time.Minute), m.Start, "a whole minute")
		require.Equal(c, time.UTC, m.Start.Location())
		age := began.Add(c.skew).Sub(m.Start)
		require.True(c, -time.Second < age && age < 10*time.Minute, "it began %v ago", age)
		if i > 0 {
			was := minutes[i-1]
			require.Negative(c, cmp.Or(was.Start.Compare(m.Start), strings.Compare(was.Queue, m.Queue), strings.Compare(was.FuncName, m.FuncName)),
				"they are in order")
		}
	}
	return minutes
}

// past sums up what was done.
func (c *checker) past() sums {
	c.Helper()
	all := make(sums)
	for _, m := range c.minutes() {
		s := all.at(m.Queue, m.FuncName)
		s.Enqueued += m.Enqueued
		s.Started += m.Started
		s.Succeeded += m.Succeeded
		s.Failed += m.Failed
		s.Retried += m.Retried
		s.Cancelled += m.Cancelled
		s.Expired += m.Expired
		s.Wait += m.Wait
		s.Run += m.Run
	}
	return all
}

// waited checks for about how long the tasks of a function in queue q had been due.
func (c *checker) waited(name string, want time.Duration) {
	c.Helper()
	got := c.past().of("q", name).Wait
	assert.True(c, want-time.Second <= got && got < want+worst, "it is %v, want about %v", got, want)
}

// sharedHistoryRules say what one backend tells of what was done in another one on the same store.
var sharedHistoryRules = []sharedRule{
	{name: "one counts what is done in both, exactly", check: func(one, other *checker) {
		const n = 20
		done := make([]<-chan error, 2)
		for i, c := range []*checker{one, other} {
			done[i] = async(func() error {
				for range n {
					t := task(queue("q"), named(string(rune('a'+i))))
					if _, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t, task(queue("q"))}); err != nil {
						return err
					}
					if _, err := c.b.Cancel(c.Context(), []uuid.UUID{t.ID}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for i, c := range []*checker{one, other} {
			require.NoError(c, c.ended(done[i], "the work"))
		}
		want := make(sums)
		want.at("q", "f").Enqueued = 2 * n
		for _, name := range []string{"a", "b"} {
			want.at("q", name).Enqueued, want.at("q", name).Cancelled = n, n
		}
		for _, c := range []*checker{one, other} {
			assert.Equal(c, want, c.past().counts())
		}
	}},
}

// transactionHistoryRules say what is counted of what is done in transactions of callers.
var transactionHistoryRules = []transactionRule{
	{name: "History counts what is done in a transaction once it commits, and never if it is rolled back", check: func(c *transactor) {
		c.enqueue(task())
		l := c.leaseOne()
		want := c.past().counts()
		for _, commits := range []bool{false, true} {
			in := c.begin()
			c.enqueueIn(in, task(queue("q")))
			require.NoError(c, c.settleIn(in, success(l, "1", long)))
			if !commits {
				require.NoError(c, in.Rollback())
				assert.Equal(c, want, c.past().counts())
				continue
			}
			require.NoError(c, in.Commit())
			want.at("q", "f").Enqueued, want.at(omniq.DefaultQueue, "f").Succeeded = 1, 1
			assert.Equal(c, want, c.past().counts())
		}
	}},
}
