package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// crossing is a backend on which calls cross each other: on the same tasks, which have unique keys, each in an order of
// its own. The database looks for deadlocks long before anybody is tired of waiting.
type crossing struct {
	*postgres.Backend
	database string
	tasks    []*omniq.RawTask
	leases   []omniq.Lease
	flow     uuid.UUID // of some that wait for the tasks
}

// follower makes a member of the flow that waits for some of the tasks.
func (c *crossing) follower() *omniq.RawTask {
	t := *c.tasks[0]
	t.ID, t.UniqueKey, t.Flow = uuid.New(), "", c.flow
	for i, id := range c.ids()[:3] {
		t.After = append(t.After, omniq.Dependency{ID: id, Need: omniq.Need(i % 2), Input: i == 1})
	}
	return &t
}

// overtakers are tasks that want the keys of the tasks, each in one of the ways.
func (c *crossing) overtakers() (list []*omniq.RawTask) {
	for _, i := range rand.Perm(len(c.tasks)) {
		t := *c.tasks[i]
		t.ID, t.OnHeld = uuid.New(), omniq.OnHeld(rand.IntN(3))
		if rand.IntN(4) == 0 {
			t.Lane, t.Queue = strconv.Itoa(rand.IntN(3)), "other"
		}
		list = append(list, &t)
	}
	return list
}

// unless is err, unless it is one of those that are right where calls cross.
func unless(err error, those ...error) error {
	for _, right := range those {
		if errors.Is(err, right) {
			return nil
		}
	}
	return err
}

func (c *crossing) ids() []uuid.UUID {
	list := ids(c.tasks...)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (c *crossing) held() []omniq.LeaseID {
	var list []omniq.LeaseID
	for _, i := range rand.Perm(len(c.leases)) {
		list = append(list, c.leases[i].LeaseID)
	}
	return list
}

var crossingCalls = map[string]func(context.Context, *crossing) error{
	"Enqueue": func(ctx context.Context, c *crossing) error {
		list := slices.Clone(c.tasks)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		_, err := c.Backend.Enqueue(ctx, list)
		return err
	},
	"Enqueue of others with the keys": func(ctx context.Context, c *crossing) error {
		var list []*omniq.RawTask
		for _, i := range rand.Perm(len(c.tasks)) {
			t := *c.tasks[i]
			t.ID = uuid.New()
			list = append(list, &t)
		}
		_, err := c.Backend.Enqueue(ctx, list)
		return err
	},
	"Enqueue of others in the places of the tasks": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Enqueue(ctx, c.overtakers())
		return err
	},
	"Enqueue of others in the places of the tasks in a caller's transaction": func(ctx context.Context, c *crossing) error {
		return pgx.BeginFunc(ctx, c.Pool(), func(tx pgx.Tx) error {
			_, err := c.Backend.Tx(tx).Enqueue(ctx, c.overtakers()[:10])
			return err
		})
	},
	"Settle with others in the places of the tasks": func(ctx context.Context, c *crossing) error {
		var list []omniq.Settlement
		for i, l := range c.held()[:8] {
			s := omniq.Settlement{LeaseID: l, Action: omniq.ActionRetry, Effects: &omniq.Effects{Cancel: c.ids()[:2]}}
			s.Effects.Enqueue = c.overtakers()[:5]
			if i%2 == 0 {
				s.Action, s.Result = omniq.ActionFinish, &omniq.RawResult{TaskID: l.TaskID, Status: omniq.StatusSuccess, Timestamp: time.Now().UTC(), Attempts: 1}
			}
			list = append(list, s)
		}
		_, err := c.Backend.Settle(ctx, list)
		return err
	},
	"Settle that cancels": func(ctx context.Context, c *crossing) error {
		var list []omniq.Settlement
		for _, l := range c.held()[:8] {
			list = append(list, omniq.Settlement{
				LeaseID: l, Action: omniq.ActionFinish, Effects: &omniq.Effects{Cancel: c.ids()[:4]},
				Result: &omniq.RawResult{TaskID: l.TaskID, Status: omniq.StatusSuccess, Timestamp: time.Now().UTC(), Attempts: 1},
			})
		}
		_, err := c.Backend.Settle(ctx, list)
		return err
	},
	"Free": func(ctx context.Context, c *crossing) error {
		var list []omniq.UniqueKey
		for _, i := range rand.Perm(len(c.tasks)) {
			list = append(list, omniq.UniqueKey{FuncName: c.tasks[i].FuncName, Key: c.tasks[i].UniqueKey})
		}
		_, err := c.Backend.Free(ctx, list)
		return err
	},
	"Lease": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Lease(ctx, omniq.LeaseRequest{Queues: anyTask.Queues, Max: 20, Duration: time.Minute, WorkerID: "w"})
		return err
	},
	"Extend": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Extend(ctx, c.held(), time.Hour)
		return err
	},
	"Settle": func(ctx context.Context, c *crossing) error {
		var list []omniq.Settlement
		for i, l := range c.held() {
			s := omniq.Settlement{LeaseID: l, Action: omniq.ActionRetry}
			if i%2 == 0 {
				s.Action, s.Result = omniq.ActionFinish, &omniq.RawResult{
					TaskID: l.TaskID, Status: omniq.StatusFailure, Timestamp: time.Now().UTC(), Attempts: 1,
					Error: &omniq.TaskError{Message: "no"},
				}
			}
			list = append(list, s)
		}
		_, err := c.Backend.Settle(ctx, list)
		return err
	},
	"Cancel": func(ctx context.Context, c *crossing) error { _, err := c.Backend.Cancel(ctx, c.ids()); return err },
	"Requeue": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Requeue(ctx, c.ids(), false)
		return err
	},
	"RunNow": func(ctx context.Context, c *crossing) error { _, err := c.Backend.RunNow(ctx, c.ids()); return err },
	"Update": func(ctx context.Context, c *crossing) error {
		var list []omniq.Update
		for i, id := range c.ids() {
			status := []omniq.Status{omniq.StatusPending, omniq.StatusCancelled}[i%2]
			list = append(list, omniq.Update{ID: id, FuncName: c.tasks[0].FuncName, Status: status, Args: omniq.Raw("[1]")})
		}
		_, err := c.Backend.Update(ctx, list)
		return err
	},
	"Settle in a caller's transaction": func(ctx context.Context, c *crossing) error {
		return pgx.BeginFunc(ctx, c.Pool(), func(tx pgx.Tx) error {
			var list []omniq.Settlement
			for _, l := range c.held() {
				list = append(list, omniq.Settlement{LeaseID: l, Action: omniq.ActionRetry})
			}
			_, err := c.Backend.Tx(tx).Settle(ctx, list)
			return err
		})
	},
	"Forget": func(ctx context.Context, c *crossing) error { _, err := c.Backend.Forget(ctx, c.ids()); return err },
	"Record": func(ctx context.Context, c *crossing) error {
		var list []*omniq.RawResult
		for _, id := range c.ids() {
			list = append(list, &omniq.RawResult{TaskID: id, Status: omniq.StatusCancelled, Timestamp: time.Now().UTC()})
		}
		_, err := c.Backend.Record(ctx, list)
		return err
	},
	"Enqueue of followers": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Enqueue(ctx, []*omniq.RawTask{c.follower(), c.follower()})
		return unless(err, omniq.ErrNotFound, omniq.ErrState)
	},
	"Enqueue of followers in a caller's transaction": func(ctx context.Context, c *crossing) error {
		return pgx.BeginFunc(ctx, c.Pool(), func(tx pgx.Tx) error {
			t := c.follower()
			t.Flow = uuid.Nil
			_, err := c.Backend.Tx(tx).Enqueue(ctx, []*omniq.RawTask{t})
			return unless(err, omniq.ErrNotFound)
		})
	},
	"Settle with effects": func(ctx context.Context, c *crossing) error {
		var list []omniq.Settlement
		for i, l := range c.held()[:8] {
			s := omniq.Settlement{LeaseID: l, Action: omniq.ActionWait, Effects: &omniq.Effects{Cancel: c.ids()[:2]}}
			t := c.follower()
			t.After, t.Flow = nil, uuid.Nil
			if rand.IntN(2) == 0 {
				t.UniqueKey = c.tasks[rand.IntN(len(c.tasks))].UniqueKey
			}
			s.Effects.Enqueue = []*omniq.RawTask{t}
			s.Effects.After = []omniq.Dependency{{ID: t.ID, Input: true}}
			switch i % 3 {
			case 0:
				s.Action, s.Effects.After, s.Effects.State = omniq.ActionRetry, nil, omniq.Raw("{}")
			case 1:
				s.Action, s.Effects.After = omniq.ActionFinish, nil
				s.Result = &omniq.RawResult{TaskID: l.TaskID, Status: omniq.StatusSuccess, Timestamp: time.Now().UTC(), Attempts: 1}
			}
			list = append(list, s)
		}
		_, err := c.Backend.Settle(ctx, list)
		return err
	},
	"Requeue with those that follow": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.Requeue(ctx, c.ids(), true)
		return err
	},
	"CancelFlow": func(ctx context.Context, c *crossing) error {
		_, err := c.Backend.CancelFlow(ctx, c.flow)
		return unless(err, omniq.ErrNotFound)
	},
	"Note": func(ctx context.Context, c *crossing) error {
		var list []omniq.LeaseNotes
		for _, l := range c.held() {
			list = append(list, omniq.LeaseNotes{LeaseID: l, Notes: omniq.Notes{
				Progress: omniq.Raw("{}"), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}},
			}})
		}
		_, err := c.Backend.Note(ctx, list)
		return err
	},
	"SQL function": func(ctx context.Context, c *crossing) error {
		t := c.tasks[rand.IntN(len(c.tasks))]
		_, err := c.Pool().Exec(ctx, "SELECT omniq.enqueue('f', unique_key => $1)", t.UniqueKey)
		return err
	},
}

func newCrossing(tb testing.TB, at, database string) *crossing {
	b, err := postgres.Open(tb.Context(), at)
	require.NoError(tb, err)
	c := &crossing{Backend: b, database: database, flow: uuid.New()}
	for i := range 40 {
		task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"), omniq.Unique(strconv.Itoa(i)))
		require.NoError(tb, err)
		if i%2 == 0 {
			task.Lane = strconv.Itoa(i % 3)
		}
		c.tasks = append(c.tasks, &task)
	}
	return c
}

// refill makes half of the tasks running and the others pending. It deletes rows: to truncate the tables would make every
// connection plan all of its statements again.
func (c *crossing) refill(ctx context.Context, tb testing.TB) {
	tables := []string{"tasks", "results", "unique_keys", "revoked", "edges", "work", "items", "lanes", "limits", "stirs"}
	empty := "LOCK TABLE omniq." + strings.Join(tables, ", omniq.") + " IN ACCESS EXCLUSIVE MODE NOWAIT; DELETE FROM omniq." +
		strings.Join(tables, "; DELETE FROM omniq.")
	require.EventuallyWithT(tb, func(t *assert.CollectT) { // to wait for all of them could end in a deadlock with what works by itself
		assert.NoError(t, pgx.BeginFunc(ctx, c.Pool(), func(tx pgx.Tx) error {
			return tx.Conn().PgConn().Exec(ctx, empty).Close()
		}))
	}, 30*time.Second, time.Millisecond)
	_, err := c.Backend.Enqueue(ctx, c.tasks)
	require.NoError(tb, err)
	c.leases, err = c.Backend.Lease(ctx, omniq.LeaseRequest{Queues: anyTask.Queues, Max: 20, Duration: time.Minute, WorkerID: "w"})
	require.NoError(tb, err)
}

// deadlocks ends the backend, and returns how many the database has had.
func (c *crossing) deadlocks(tb testing.TB) (n int) {
	at, err := start()
	require.NoError(tb, err)
	require.NoError(tb, c.Close()) // sessions that end tell their statistics
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, at)
	require.NoError(tb, err)
	const sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
	require.Eventually(tb, func() bool { return conn.QueryRow(ctx, sessions, c.database).Scan(&n) == nil && n == 0 },
		30*time.Second, 10*time.Millisecond)
	const q = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1"
	require.NoError(tb, conn.QueryRow(ctx, q, c.database).Scan(&n))
	require.NoError(tb, conn.Close(ctx))
	return n
}

// Calls that touch the same rows never wait for each other in a circle, in whatever order they name them.
func TestCallsCross(t *testing.T) {
	t.Parallel()
	at, name := ownDatabase(t)
	c := newCrossing(t, with(t, at, "deadlock_timeout=1ms", "pool_max_conns=8"), name)
	names := make([]string, 0, len(crossingCalls))
	for call := range crossingCalls {
		names = append(names, call)
	}
	slices.Sort(names)
	for i, one := range names {
		for _, other := range names[i:] {
			c.refill(t.Context(), t)
			var calls sync.WaitGroup
			for n := range 6 {
				calls.Go(func() {
					call := []string{one, other}[n%2]
					for range 3 {
						assert.NoError(t, crossingCalls[call](t.Context(), c), "%s beside %s", one, other)
					}
				})
			}
			calls.Wait()
			none(t, c.Backend)
		}
	}
	require.Zero(t, c.deadlocks(t))
}

// BenchmarkCross is all calls at once on the same tasks and keys.
func BenchmarkCross(b *testing.B) {
	at, err := start()
	require.NoError(b, err)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, at)
	require.NoError(b, err)
	name := fmt.Sprintf("test_cross_%d", server.last.Add(1))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	require.NoError(b, err)
	pc := conn.Config()
	c := newCrossing(b, fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable&pool_max_conns=8&deadlock_timeout=1ms", pc.User, pc.Host, pc.Port, name), name)
	c.refill(ctx, b)
	var mu sync.Mutex
	slowest := time.Duration(0)
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for call, do := range crossingCalls { // one by chance
				began := time.Now()
				if err := do(ctx, c); err != nil {
					b.Error(call, err)
				}
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
				break
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(slowest.Seconds()*1e3, "ms-slowest")
	b.ReportMetric(float64(c.deadlocks(b)), "deadlocks")
	_, err = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	require.NoError(b, err)
	require.NoError(b, conn.Close(ctx))
}
