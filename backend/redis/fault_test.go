package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/internal/redisserver"
)

func openAt(t testing.TB, s *redisserver.Server, opts ...redis.Option) *redis.Backend {
	t.Helper()
	b, err := redis.Open(context.Background(), s.URL(), append([]redis.Option{redis.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func lease(t testing.TB, b omniq.Backend, n int, wait time.Duration) []omniq.Lease {
	t.Helper()
	leases, err := b.Lease(context.Background(), omniq.LeaseRequest{Queues: []string{"default"}, Max: n, Duration: time.Minute, Wait: wait, WorkerID: "w"})
	require.NoError(t, err)
	return leases
}

// The server is killed and started again, while tasks are enqueued and worked: each that was acknowledged is done.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "--appendonly", "yes")
	b := openAt(t, s)
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
	w, err := omniq.NewWorker(b, omniq.Handlers(echo), omniq.Concurrency(8), omniq.LeaseDuration(2*time.Second), omniq.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { worked <- w.Run(ctx) }()
	var mu sync.Mutex
	stored := make(map[int]*omniq.Handle[int])
	var last atomic.Int64
	produce, end := context.WithCancel(t.Context())
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for produce.Err() == nil {
				n := int(last.Add(1))
				h, err := echo.Enqueue(produce, client, omniq.MakeArgs1(n), omniq.ResultTTL(time.Hour))
				if err == nil {
					mu.Lock()
					stored[n] = h
					mu.Unlock()
				}
			}
		})
	}
	for range 3 {
		mu.Lock()
		before := len(stored)
		mu.Unlock()
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(stored) > before+100 }, time.Minute, time.Millisecond)
		require.NoError(t, s.Crash())
		require.NoError(t, s.Start(t.Context()))
	}
	end()
	producers.Wait()
	require.NotEmpty(t, stored)
	for n, h := range stored {
		wait, cancel := context.WithTimeout(t.Context(), time.Minute)
		got, err := h.Wait(wait)
		for err != nil && wait.Err() == nil { // the connection may have broken once more
			got, err = h.Wait(wait)
		}
		cancel()
		require.NoError(t, err)
		require.Equal(t, n, got)
	}
	stop()
	require.NoError(t, <-worked)
}

// The connections are cut all the time on which it is told what has happened: nobody misses a result that is not kept.
func TestKilledConnections(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	b := openAt(t, s, redis.WithPollInterval(time.Hour)) // polls would find them
	c := connect(t, s.URL())
	ctx, stop := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = c.Do(ctx, c.B().Arbitrary("CLIENT", "KILL", "TYPE", "pubsub").Build()).Error()
			<-tick.C
		}
	})
	for range 10 {
		tasks := batch(50)
		_, err := b.Enqueue(t.Context(), tasks)
		require.NoError(t, err)
		heard := make(chan error, len(tasks))
		for _, task := range tasks {
			go func() {
				r, err := b.Await(t.Context(), task.ID)
				if err == nil && r.Status != omniq.StatusSuccess {
					err = fmt.Errorf("it is %v", r.Status)
				}
				heard <- err
			}()
		}
		// Those that have not looked by now would find nothing.
		require.Eventually(t, func() bool { return redis.Watched(b, "r:") >= len(tasks) }, time.Minute, time.Millisecond)
		for left := len(tasks); left > 0; {
			leases := lease(t, b, left, time.Minute)
			left -= len(leases)
			list := make([]omniq.Settlement, len(leases))
			for i, l := range leases {
				list[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
					TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now().UTC(), TTL: new(time.Duration(0)),
				}}
			}
			_, err := b.Settle(t.Context(), list)
			require.NoError(t, err)
		}
		for range tasks {
			require.NoError(t, <-heard)
		}
	}
	stop()
	cutter.Wait()
}

// While somebody's script keeps the server busy calls fail, and say that nothing was done; they go on afterwards. The server also refuses
// to unsubscribe then, and what a connection has to do for that when it is given back.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "--busy-reply-threshold", "50")
	b, careful := openAt(t, s), openAt(t, s, redis.WaitReplicas(1, time.Millisecond))
	require.Empty(t, lease(t, b, 1, time.Millisecond), "it has waited")
	c, other := connect(t, s.URL()), connect(t, s.URL())
	endless := make(chan error, 1)
	go func() {
		endless <- c.Do(context.Background(), c.B().Eval().Script("while true do end").Numkeys(0).Build()).Error()
	}()
	require.Eventually(t, func() bool {
		err := other.Do(t.Context(), other.B().Ping().Build()).Error()
		return err != nil && strings.Contains(err.Error(), "BUSY")
	}, time.Minute, 5*time.Millisecond)
	tasks := batch(1)
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; { // in which it is looked for what nobody waits for any more
		for _, b := range []*redis.Backend{b, careful} {
			_, err := b.Enqueue(t.Context(), tasks)
			require.ErrorContains(t, err, "BUSY")
			require.NotErrorIs(t, err, omniq.ErrUncertain)
		}
	}
	do(t, other, "SCRIPT", "KILL")
	require.Error(t, <-endless)
	errs, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Nil(t, errs)
}

// What nobody waits for any more does not stay subscribed for ever, and who waits meanwhile hears of what happens.
func TestUnusedTopics(t *testing.T) {
	t.Parallel()
	name := namespace(t)
	b := openIn(t, name)
	tasks := batch(1)
	_, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	heard := make(chan error, 1)
	go func() { _, err := b.Await(t.Context(), tasks[0].ID); heard <- err }()
	c := connect(t, url(t))
	channels := func() int {
		list, err := c.Do(t.Context(), c.B().PubsubShardchannels().Pattern("{"+name+"}*").Build()).AsStrSlice()
		require.NoError(t, err)
		return len(list)
	}
	require.Eventually(t, func() bool { return channels() > 0 }, time.Minute, time.Millisecond)
	b.WaitForMany(t.Context(), redis.MostUnused+1)
	require.Eventually(t, func() bool { return channels() < 10 }, time.Minute, 20*time.Millisecond)
	settle(t, b, lease(t, b, 1, time.Minute))
	require.NoError(t, <-heard)
}

// A server that says nothing keeps no call longer than its context lasts, and what was to be written is not known then.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	b := openAt(t, s)
	tasks := batch(1)
	require.NoError(t, s.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // in which the call has begun
	defer cancel()
	_, err := b.Enqueue(ctx, tasks)
	require.ErrorIs(t, err, omniq.ErrUncertain)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Stats(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Minute, WorkerID: "w"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.Signal(syscall.SIGCONT))
	_, err = b.Enqueue(t.Context(), tasks) // stored by now, or then
	require.NoError(t, err)
	require.Len(t, lease(t, b, 10, time.Minute), 1)
}

// What was cancelled is told to its worker, also if the answer that told it first was lost, and then no more.
func TestRevokedAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := open(t)
	_, err := b.Enqueue(t.Context(), batch(1))
	require.NoError(t, err)
	leases := lease(t, b, 1, 0)
	require.Len(t, leases, 1)
	_, err = b.Cancel(t.Context(), []uuid.UUID{leases[0].TaskID})
	require.NoError(t, err)
	require.NoError(t, redis.Ask(t.Context(), b, "revoked", map[string]any{"worker": "w"}))
	told, err := b.Revoked(t.Context(), "w")
	require.NoError(t, err)
	require.Equal(t, []omniq.LeaseID{leases[0].LeaseID}, told)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.Revoked(ctx, "w")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, omniq.ErrUncertain)
}

// A server without its scripts gets them again.
func TestScriptsAreGone(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	b := openAt(t, s)
	for range 3 {
		_, err := b.Enqueue(t.Context(), batch(1))
		require.NoError(t, err)
		do(t, connect(t, s.URL()), "SCRIPT", "FLUSH")
	}
	require.Len(t, lease(t, b, 10, 0), 3)
}

// A server whose memory is full takes no more tasks: nothing of a call is done. What was taken is worked off.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	b := openAt(t, s, redis.WithEvents(time.Hour))
	_, err := b.Enqueue(t.Context(), batch(100))
	require.NoError(t, err)
	before, err := b.Stats(t.Context())
	require.NoError(t, err)
	c := connect(t, s.URL())
	do(t, c, "CONFIG", "SET", "maxmemory", "1mb") // less than it has
	keys := func() int64 {
		n, err := c.Do(t.Context(), c.B().Dbsize().Build()).AsInt64()
		require.NoError(t, err)
		return n
	}
	had := keys()
	tasks := batch(2, func(task *omniq.RawTask) { task.UniqueKey = task.ID.String(); task.Flow = uuid.New() })
	for _, call := range map[string]func() error{
		"Enqueue": func() error { _, err := b.Enqueue(t.Context(), tasks); return err },
		"Record": func() error {
			_, err := b.Record(t.Context(), []*omniq.RawResult{{TaskID: uuid.New(), Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now().UTC()}})
			return err
		},
		"Append": func() error {
			return b.Append(t.Context(), []*omniq.TaskEvent{{TaskID: uuid.New(), EventType: omniq.EventStarted, Timestamp: time.Now().UTC()}})
		},
	} {
		err := call()
		require.ErrorContains(t, err, "OOM")
		require.NotErrorIs(t, err, omniq.ErrUncertain)
	}
	assert.Equal(t, had, keys(), "nothing was written")
	after, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before[0].Ready, after[0].Ready)

	b = openAt(t, s, redis.WithEvents(time.Hour)) // by a process that is new
	leases := lease(t, b, 60, 0)
	require.Len(t, leases, 60)
	settle(t, b, leases[:50])
	errs, err := b.Cancel(t.Context(), []uuid.UUID{leases[50].TaskID})
	require.NoError(t, err)
	require.Nil(t, errs)
	errs, err = b.Extend(t.Context(), []omniq.LeaseID{leases[51].LeaseID}, time.Hour)
	require.NoError(t, err)
	require.Nil(t, errs)

	do(t, c, "CONFIG", "SET", "maxmemory", "0")
	errs, err = b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Nil(t, errs)
}

// Whatever happens at once to very many tasks, no script keeps the server from others for long.
func TestNothingBlocks(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	const many = 10_000
	expiring := func(task *omniq.RawTask) { task.TTL = new(200 * time.Millisecond) }
	due := func(task *omniq.RawTask) { task.Delay = 2 * time.Second }
	flow := uuid.New()
	whole := batch(many, func(task *omniq.RawTask) { task.Flow = flow })
	first := batch(1)
	following := batch(many, func(task *omniq.RawTask) { task.After = []omniq.Dependency{{ID: first[0].ID}} })
	parts := batch(7_500)
	all := batch(1)
	for _, part := range parts {
		all[0].After = append(all[0].After, omniq.Dependency{ID: part.ID, Input: true})
	}
	for _, tt := range []struct {
		name  string
		store [][]*omniq.RawTask
		then  func(t *testing.T, b omniq.Backend)
	}{
		{"many expire", split(batch(many, expiring), 500), func(t *testing.T, b omniq.Backend) {
			reach(t, b, func(s omniq.QueueStats) bool { return s.Expired == many })
		}},
		{"many become due", split(batch(many, due), 500), func(t *testing.T, b omniq.Backend) {
			reach(t, b, func(s omniq.QueueStats) bool { return s.Ready == many })
		}},
		{"a flow is cancelled", [][]*omniq.RawTask{whole}, func(t *testing.T, b omniq.Backend) {
			n, err := b.CancelFlow(t.Context(), flow)
			require.NoError(t, err)
			require.Equal(t, many, n)
		}},
		{"many follow one", append([][]*omniq.RawTask{first}, split(following, 500)...), func(t *testing.T, b omniq.Backend) {
			errs, err := b.Cancel(t.Context(), []uuid.UUID{first[0].ID})
			require.NoError(t, err)
			require.Nil(t, errs)
			reach(t, b, func(s omniq.QueueStats) bool { return s.Cancelled == many+1 })
			errs, err = b.Requeue(t.Context(), []uuid.UUID{first[0].ID}, true)
			require.NoError(t, err)
			require.Nil(t, errs)
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Equal(t, many, stats[0].Waiting, "all that follow, when the call returns")
			errs, err = b.Cancel(t.Context(), []uuid.UUID{first[0].ID})
			require.NoError(t, err)
			require.Nil(t, errs)
			reach(t, b, func(s omniq.QueueStats) bool { return s.Cancelled == many+1 })
			errs, err = b.Forget(t.Context(), []uuid.UUID{first[0].ID})
			require.NoError(t, err)
			require.Nil(t, errs)
		}},
		{"one follows many", append(split(parts, 500), all), func(t *testing.T, b omniq.Backend) {
			for left := len(parts); left > 0; {
				leases := lease(t, b, 100, time.Minute)
				settle(t, b, leases)
				left -= len(leases)
			}
			settle(t, b, lease(t, b, 1, time.Minute))
			errs, err := b.Forget(t.Context(), []uuid.UUID{all[0].ID})
			require.NoError(t, err)
			require.Nil(t, errs)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var longest time.Duration
			for range 5 { // the server's times are longer where others keep the machine busy, by chance
				s := ownServer(t)
				b := openAt(t, s)
				for _, tasks := range tt.store {
					errs, err := b.Enqueue(t.Context(), tasks)
					require.NoError(t, err)
					require.Nil(t, errs)
				}
				c := connect(t, s.URL())
				do(t, c, "CONFIG", "SET", "slowlog-log-slower-than", "1000", "slowlog-max-len", "1000")
				do(t, c, "SLOWLOG", "RESET")
				tt.then(t, b)
				longest = slowest(t, s)
				t.Logf("the longest script took %v", longest)
				if longest < 100*time.Millisecond {
					return
				}
			}
			assert.Fail(t, "a script keeps the server from others", "each time, at last for %v", longest)
		})
	}
}

// slowest is how long the longest command has taken since the log was emptied.
func slowest(t *testing.T, s *redisserver.Server) (longest time.Duration) {
	t.Helper()
	c := connect(t, s.URL())
	list, err := c.Do(t.Context(), c.B().Arbitrary("SLOWLOG", "GET", "1000").Build()).ToArray()
	require.NoError(t, err)
	for i := range list {
		entry, err := list[i].ToArray()
		require.NoError(t, err)
		us, err := entry[2].AsInt64()
		require.NoError(t, err)
		longest = max(longest, time.Duration(us)*time.Microsecond)
	}
	return longest
}

func split(tasks []*omniq.RawTask, size int) (parts [][]*omniq.RawTask) {
	for len(tasks) > size {
		parts, tasks = append(parts, tasks[:size]), tasks[size:]
	}
	return append(parts, tasks)
}

// reach waits until the figures of the queue are as they are to be.
func reach(t *testing.T, b omniq.Backend, done func(omniq.QueueStats) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		stats, err := b.Stats(t.Context())
		return err == nil && len(stats) == 1 && done(stats[0])
	}, time.Minute, 10*time.Millisecond)
}

// A user who loses the right to listen goes on by looking, and it is told.
func TestDeaf(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	c := connect(t, s.URL())
	do(t, c, strings.Fields("ACL SETUSER worker on >secret ~{omniq}:* &{omniq}:c:* "+rights)...)
	var log safeLog
	b, err := redis.Open(t.Context(), "redis://worker:secret@"+s.Addr(), redis.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	do(t, c, "ACL", "SETUSER", "worker", "-ssubscribe")
	do(t, c, "CLIENT", "KILL", "TYPE", "pubsub")
	waiting := make(chan error, 1)
	go func() {
		r := omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w"}
		leases, err := b.Lease(t.Context(), r)
		if err == nil && len(leases) != 1 {
			err = fmt.Errorf("it is %d leases", len(leases))
		}
		waiting <- err
	}()
	_, err = b.Enqueue(t.Context(), batch(1))
	require.NoError(t, err)
	require.NoError(t, <-waiting)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "does not tell what others do") }, time.Minute, 10*time.Millisecond)
}

// safeLog is what was logged, for several goroutines.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
