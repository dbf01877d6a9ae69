package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// monitorRules say what is told of workers.
var monitorRules = []rule{
	{name: "a worker that beats is among Workers as it says, with times of the backend's clock", check: func(c *checker) {
		assert.Empty(c, c.workers())
		c.beats()
	}},
	{name: "the last beat of a worker counts, and workers are in the order of their IDs", check: func(c *checker) {
		for _, w := range []omniq.WorkerInfo{
			beat("b"), beat("ü 1"), beat("a"), beat("b:2"), beat("b", func(w *omniq.WorkerInfo) {
				w.Host, w.PID, w.Version, w.Queues, w.Names, w.Concurrency, w.Running, w.Stopping = "there", 2, "v2", []string{"q"}, []string{"f"}, 9, 8, true
			}),
		} {
			require.NoError(c, c.b.Beat(c.Context(), w))
		}
		got := c.workers()
		assert.Equal(c, []string{"a", "b", "b:2", "ü 1"}, workerIDs(got))
		want := beat("b", func(w *omniq.WorkerInfo) {
			w.Host, w.PID, w.Version, w.Queues, w.Names, w.Concurrency, w.Running, w.Stopping = "there", 2, "v2", []string{"q"}, []string{"f"}, 9, 8, true
			w.Started, w.Seen = got[1].Started, got[1].Seen
		})
		assert.Equal(c, want, got[1])
	}},
	{name: "a worker that is silent for its lease is gone, and there again when it beats", check: func(c *checker) {
		c.inTime(func(d time.Duration, _ string) bool {
			w := beat("w", func(w *omniq.WorkerInfo) { w.Lease = d })
			before := time.Now()
			require.NoError(c, c.b.Beat(c.Context(), w))
			after := time.Now()
			require.NoError(c, c.b.Beat(c.Context(), beat("other")))
			there := workerIDs(c.workers())
			if !time.Now().Before(before.Add(d)) {
				return false
			}
			assert.Equal(c, []string{"other", "w"}, there)
			for time.Now().Before(after.Add(d + time.Millisecond)) {
				c.pause()
			}
			assert.Equal(c, []string{"other"}, workerIDs(c.workers()), "after a lease")
			before = time.Now()
			require.NoError(c, c.b.Beat(c.Context(), w))
			there = workerIDs(c.workers())
			if !time.Now().Before(before.Add(d)) {
				return false
			}
			assert.Equal(c, []string{"other", "w"}, there, "it has beaten")
			require.NoError(c, c.b.Beat(c.Context(), beat("w")))
			for end := time.Now().Add(d + time.Millisecond); time.Now().Before(end); {
				c.pause()
			}
			assert.Equal(c, []string{"other", "w"}, workerIDs(c.workers()), "its lease is longer now")
			return true
		})
	}},
	{name: "a worker that says that it has stopped is gone at once", check: func(c *checker) {
		stopped := func(w *omniq.WorkerInfo) { w.Lease, w.Stopping = 0, true }
		require.NoError(c, c.b.Beat(c.Context(), beat("w")))
		require.NoError(c, c.b.Beat(c.Context(), beat("other")))
		require.NoError(c, c.b.Beat(c.Context(), beat("w", stopped)))
		assert.Equal(c, []string{"other"}, workerIDs(c.workers()))
		require.NoError(c, c.b.Beat(c.Context(), beat("w", stopped)), "twice")
		require.NoError(c, c.b.Beat(c.Context(), beat("unknown", stopped)))
		assert.Equal(c, []string{"other"}, workerIDs(c.workers()))
	}},
	{name: "the slices of a beat are not kept, and those of Workers are the caller's", check: func(c *checker) {
		w := beat("w")
		require.NoError(c, c.b.Beat(c.Context(), w))
		clear(w.Queues)
		clear(w.Names)
		got := c.workers()
		require.Len(c, got, 1)
		assert.Equal(c, beat("w").Queues, got[0].Queues)
		assert.Equal(c, beat("w").Names, got[0].Names)
		clear(got[0].Queues)
		clear(got[0].Names)
		got = c.workers()
		assert.Equal(c, beat("w").Queues, got[0].Queues)
		assert.Equal(c, beat("w").Names, got[0].Names)
	}},
	{name: "a beat that cannot be is refused", check: func(c *checker) {
		for name, change := range map[string]func(*omniq.WorkerInfo){
			"no ID":                  func(w *omniq.WorkerInfo) { w.ID = "" },
			"an ID with a line":      func(w *omniq.WorkerInfo) { w.ID = "a\nb" },
			"a negative PID":         func(w *omniq.WorkerInfo) { w.PID = -1 },
			"a negative concurrency": func(w *omniq.WorkerInfo) { w.Concurrency = -1 },
			"a negative number":      func(w *omniq.WorkerInfo) { w.Running = -1 },
			"a negative age":         func(w *omniq.WorkerInfo) { w.Up = -1 },
			"a negative lease":       func(w *omniq.WorkerInfo) { w.Lease = -1 },
			"a host with a NUL":      func(w *omniq.WorkerInfo) { w.Host = "a\x00" },
			"a version not in UTF-8": func(w *omniq.WorkerInfo) { w.Version = "\xff" },
			"a queue not in UTF-8":   func(w *omniq.WorkerInfo) { w.Queues = []string{"a", "\xff"} },
			"a name with a NUL":      func(w *omniq.WorkerInfo) { w.Names = []string{"a", "\x00"} },
		} {
			assert.ErrorIs(c, c.b.Beat(c.Context(), beat("w", change)), omniq.ErrInvalid, name)
		}
		assert.Empty(c, c.workers())
	}},
}

// beat is what a worker says, changed by the functions.
func beat(id string, change ...func(*omniq.WorkerInfo)) omniq.WorkerInfo {
	w := omniq.WorkerInfo{
		ID: id, Host: "hier", PID: 4711, Version: "v1.2.3", Queues: []string{"b", "a"}, Names: []string{"mail.send", "ünïcode \"quoted\""},
		Concurrency: 16, Running: 3, Up: time.Hour, Lease: long,
	}
	for _, f := range change {
		f(&w)
	}
	return w
}

// beats lets a worker beat and checks what is told of it then.
func (c *checker) beats() {
	c.Helper()
	began := time.Now().Truncate(time.Millisecond)
	w := beat("w", func(w *omniq.WorkerInfo) { w.Started, w.Seen = time.Unix(1, 0), time.Unix(2, 0) })
	require.NoError(c, c.b.Beat(c.Context(), w))
	got := c.workers()
	require.Len(c, got, 1)
	c.between(began, got[0].Seen.Add(-c.skew), "seen")
	c.between(began, got[0].Started.Add(time.Hour-c.skew), "started")
	w.Started, w.Seen = got[0].Started, got[0].Seen
	assert.Equal(c, w, got[0])
	require.NoError(c, c.b.Beat(c.Context(), beat("none", func(w *omniq.WorkerInfo) { w.Host, w.Version, w.Queues, w.Names = "", "", nil, nil })))
	assert.Equal(c, []string{"none", "w"}, workerIDs(c.workers()))
}

// workers returns those that are there.
func (c *checker) workers() []omniq.WorkerInfo {
	c.Helper()
	all, err := c.b.Workers(c.Context())
	require.NoError(c, err)
	return all
}

func workerIDs(workers []omniq.WorkerInfo) []string {
	ids := make([]string, len(workers))
	for i, w := range workers {
		ids[i] = w.ID
	}
	return ids
}

// sharedMonitorRules say what one backend tells of workers that use another one on the same store.
var sharedMonitorRules = []sharedRule{
	{name: "one tells of workers that beat in the other, and that they have stopped", check: func(one, other *checker) {
		for i := range 4 {
			if i%2 > 0 {
				one, other = other, one
			}
			require.NoError(one, one.b.Beat(one.Context(), beat("w")))
			require.NoError(other, other.b.Beat(other.Context(), beat("other")))
			for _, c := range []*checker{one, other} {
				assert.Equal(c, []string{"other", "w"}, workerIDs(c.workers()))
			}
			require.NoError(other, other.b.Beat(other.Context(), beat("w", func(w *omniq.WorkerInfo) { w.Lease = 0 })))
			for _, c := range []*checker{one, other} {
				assert.Equal(c, []string{"other"}, workerIDs(c.workers()))
			}
		}
	}},
}
