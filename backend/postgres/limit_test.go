package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// Workers on two pools never have more tasks than the limit permits, and take all.
func TestLimitHolds(t *testing.T) {
	t.Parallel()
	const most, all, workers = 3, 160, 8
	name := postgres.WithSchema(schema(t))
	both := []*postgres.Backend{open(t, name), open(t, name)}
	require.NoError(t, both[0].SetLimit(t.Context(), "", omniq.Limit{Running: most}))
	for i := range all {
		enqueue(t, both[i%2], newTask(t, omniq.Lane(fmt.Sprint(i%7))))
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var running, highest, done atomic.Int32
	var calls sync.WaitGroup
	for w := range workers {
		calls.Go(func() {
			b := both[w%2]
			for ctx.Err() == nil {
				leases, err := b.Lease(ctx, omniq.LeaseRequest{
					Queues: []string{"default"}, Max: 2, Duration: time.Hour, Wait: time.Minute, WorkerID: "w",
				})
				if ctx.Err() != nil {
					return
				}
				if !assert.NoError(t, err) {
					return
				}
				for range leases {
					n, h := running.Add(1), highest.Load()
					for n > h && !highest.CompareAndSwap(h, n) {
						h = highest.Load()
					}
				}
				for _, l := range leases {
					running.Add(-1)
					settle(t, b, ending(l, omniq.StatusSuccess, "1"))
					if done.Add(1) == all {
						stop()
					}
				}
			}
		})
	}
	calls.Wait()
	assert.EqualValues(t, all, done.Load())
	assert.LessOrEqual(t, highest.Load(), int32(most), "at once")
	assert.Greater(t, highest.Load(), int32(1), "at once")
}

// A lease whose time has passed while somebody may be extending it keeps its place until that is known.
func TestLeaseThatIsBeingExtended(t *testing.T) {
	t.Parallel()
	for _, lane := range []string{"", "a"} {
		var b *postgres.Backend
		var held omniq.Lease
		var extending pgx.Tx
		short := 50 * time.Millisecond
		for caught := false; !caught; { // on a machine that is busy with other work it may have run out before
			short *= 2
			b = open(t, place(t))
			require.NoError(t, b.SetLimit(t.Context(), "", omniq.Limit{Running: 1, EachLane: omniq.LaneLimit{Running: 1}}))
			for range 2 {
				task := newTask(t)
				task.Lane = lane
				enqueue(t, b, task)
			}
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 2, Duration: short})
			require.NoError(t, err)
			require.Len(t, leases, 1)
			held = leases[0]
			extending, err = b.Pool().Begin(t.Context())
			require.NoError(t, err)
			tag, err := extending.Exec(t.Context(), "UPDATE "+b.Schema()+".tasks SET wake = wake + interval '1 h' WHERE id = $1 AND state = 2", held.TaskID)
			require.NoError(t, err)
			if caught = tag.RowsAffected() == 1; !caught {
				require.NoError(t, extending.Rollback(t.Context()))
			}
		}
		defer func() { _ = extending.Rollback(context.Background()) }()
		require.Eventually(t, func() bool { return time.Now().After(held.Expires.Add(short)) }, time.Minute, time.Millisecond)
		nothing(t, b)
		require.NoError(t, extending.Commit(t.Context()))
		nothing(t, b)
		finish(t, b, held, "1", time.Hour)
		assert.NotEqual(t, held.TaskID, lease(t, b).TaskID)
	}
}

// A caller's transaction that has enqueued into a lane and stays open holds up neither those who lease, nor those who enqueue into
// the lane; and what it has enqueued is found when it commits, though the lane was found empty meanwhile.
func TestLaneInOpenTransaction(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tx, err := b.Pool().Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	late := newTask(t, omniq.Lane("a"))
	_, err = b.Tx(tx).Enqueue(ctx, []*omniq.RawTask{late})
	require.NoError(t, err)
	for range 3 {
		enqueue(t, b, newTask(t, omniq.Lane("a")), newTask(t, omniq.Lane("b")))
		finish(t, b, lease(t, b), "1", time.Hour)
		finish(t, b, lease(t, b), "1", time.Hour)
		none(t, b)
	}
	require.NoError(t, tx.Commit(ctx))
	assert.Equal(t, late.ID, lease(t, b).TaskID)
}

// Nothing is left of a lane that has no task.
func TestLaneIsRemoved(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	enqueue(t, b, newTask(t, omniq.Lane("a")))
	finish(t, b, lease(t, b), "1", time.Hour)
	nothing(t, b)
	require.Eventually(t, func() bool {
		var n int
		err := b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+name+".lanes WHERE lane <> ''").Scan(&n)
		return err == nil && n == 0
	}, 20*time.Second, 20*time.Millisecond)
}

// What tasks with lanes have left goes, also where nobody leases. A process that remembers the queue's lanes finds new ones.
func TestNothingIsLeftOfLanes(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	empty := func(tables ...string) {
		t.Helper()
		for _, table := range tables {
			require.Eventually(t, func() bool {
				var n int
				err := b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+name+"."+table).Scan(&n)
				return err == nil && n == 0
			}, 20*time.Second, 20*time.Millisecond, table)
		}
	}
	tasks := []*omniq.RawTask{newTask(t, omniq.Lane("a")), newTask(t, omniq.Lane("b")), newTask(t)}
	enqueue(t, b, tasks...)
	empty("stirs")
	errs, err := b.Cancel(t.Context(), ids(tasks...))
	require.NoError(t, err)
	require.Nil(t, errs)
	empty("stirs")
	exec(t, "UPDATE "+name+".limits SET seen = seen - interval '1 h'")
	empty("limits", "lanes")
	late := newTask(t, omniq.Lane("a"))
	enqueue(t, b, late)
	assert.Equal(t, late.ID, lease(t, b).TaskID)
}

// However many tasks of a lane are stored at once: that they are there is one row, and only those that are stored and due count.
func TestLaneIsToldOnce(t *testing.T) {
	t.Parallel()
	later := func(task *omniq.RawTask) *omniq.RawTask {
		task.Delay = time.Hour
		return task
	}
	member := func(flow uuid.UUID, after ...omniq.Dependency) *omniq.RawTask {
		task := newTask(t, omniq.Lane("a"))
		task.Flow, task.After = flow, after
		return task
	}
	for name, tasks := range map[string]func() []*omniq.RawTask{
		"plain": func() []*omniq.RawTask {
			again := newTask(t, omniq.Lane("a"))
			return []*omniq.RawTask{newTask(t, omniq.Lane("a")), again, newTask(t, omniq.Lane("b")), again, later(newTask(t, omniq.Lane("a"))), newTask(t)}
		},
		"with keys": func() []*omniq.RawTask {
			keyed := func(key string) *omniq.RawTask {
				task := newTask(t, omniq.Lane("a"))
				task.UniqueKey = key
				return task
			}
			return []*omniq.RawTask{keyed("1"), keyed("2"), keyed("1"), newTask(t, omniq.Lane("b")), newTask(t)}
		},
		"of a flow": func() []*omniq.RawTask {
			flow := uuid.Must(uuid.NewV7())
			first := member(flow)
			return []*omniq.RawTask{first, member(flow), member(flow, omniq.Dependency{ID: first.ID}), newTask(t, omniq.Lane("b")), newTask(t)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := schema(t)
			b := open(t, postgres.WithSchema(schema))
			tx, err := b.Pool().Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(context.Background()) }()
			_, err = b.Tx(tx).Enqueue(t.Context(), tasks())
			require.NoError(t, err)
			rows, err := tx.Query(t.Context(), "SELECT lane, n FROM "+schema+".stirs ORDER BY lane")
			require.NoError(t, err)
			type stir struct {
				Lane string
				N    int
			}
			stirs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stir])
			require.NoError(t, err)
			assert.Equal(t, []stir{{"a", 2}, {"b", 1}}, stirs)
			require.NoError(t, tx.Commit(t.Context()))
			for range 4 {
				lease(t, b)
			}
			none(t, b)
		})
	}
}

// SQL enqueues into a lane, also the first of a queue.
func TestLaneBySQL(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	exec(t, "SELECT "+name+".enqueue('f', lane => 'a')")
	assert.Equal(t, "a", lease(t, b).Task.Lane)
	nothing(t, b)
}

// So it does where a queue that is known to have a limit comes after it.
func TestLaneBySQLBeforeLimit(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	require.NoError(t, b.SetLimit(t.Context(), "limited", omniq.Limit{Running: 1}))
	r := omniq.LeaseRequest{Queues: []string{"free", "laned", "limited"}, Max: 1, Duration: time.Hour}
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	require.Empty(t, leases)
	exec(t, "SELECT "+name+".enqueue('f', queue => 'laned', lane => 'a')")
	leases, err = b.Lease(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, leases, 1)
}

// A limit that is set while a lease is looking for tasks does not let it forget what it has taken.
func TestLimitIsSetMeanwhile(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	require.NoError(t, b.SetLimit(t.Context(), "", omniq.Limit{Running: 1}))
	nothing(t, b) // from now on it knows the limit
	enqueue(t, b, newTask(t))
	exec(t, strings.ReplaceAll(`DELETE FROM {s}.limits;
		CREATE FUNCTION {s}.meanwhile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO {s}.limits (queue, seen, spec, running) VALUES ('default', now(), '{"running":1}', 1) ON CONFLICT DO NOTHING;
			RETURN NULL;
		END $$;
		CREATE TRIGGER meanwhile BEFORE UPDATE ON {s}.tasks FOR EACH STATEMENT EXECUTE FUNCTION {s}.meanwhile()`, "{s}", name))
	lease(t, b)
}

// nothing says that nothing can be leased now.
func nothing(t *testing.T, b omniq.Backend) {
	t.Helper()
	r := anyTask
	r.Wait = 0
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	require.Empty(t, leases)
}

// BenchmarkLimits measures what limits and lanes cost: four goroutines lease and settle 100 tasks at a time.
func BenchmarkLimits(b *testing.B) {
	_, err := start()
	require.NoError(b, err)
	const all = 20_000
	for _, bench := range []struct {
		name  string
		limit omniq.Limit
		lanes int
	}{{"none", omniq.Limit{}, 0}, {"loose", omniq.Limit{Running: 100_000}, 0}, {"lanes=10", omniq.Limit{}, 10}, {"lanes=10000", omniq.Limit{}, 10_000}} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				backend := openBench(b)
				require.NoError(b, backend.SetLimit(b.Context(), "", bench.limit))
				enqueueLanes(b, backend, all, func(i int) string {
					if bench.lanes == 0 {
						return ""
					}
					return fmt.Sprint("lane", i%bench.lanes)
				})
				b.StartTimer()
				began := time.Now()
				workAll(b, backend, all)
				b.ReportMetric(all/time.Since(began).Seconds(), "worked/s")
				b.StopTimer()
				require.NoError(b, backend.Close())
				b.StartTimer()
			}
		})
	}
	b.Run("behind=100000", func(b *testing.B) {
		const tenants, each, many = 2000, 5, 100_000
		for b.Loop() {
			b.StopTimer()
			backend := openBench(b)
			enqueueLanes(b, backend, many, func(int) string { return "large" })
			enqueueLanes(b, backend, tenants*each, func(i int) string { return fmt.Sprint("small", i%tenants) })
			b.StartTimer()
			began, taken := time.Now(), 0
			for small := 0; small < tenants*each; {
				leases, err := backend.Lease(b.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 100, Duration: time.Hour})
				require.NoError(b, err)
				require.NotEmpty(b, leases)
				for _, l := range leases {
					taken++
					if l.Task.Lane != "large" {
						small++
					}
				}
			}
			b.ReportMetric(time.Since(began).Seconds(), "s-until-all-small")
			b.ReportMetric(float64(taken), "taken")
			b.StopTimer()
			require.NoError(b, backend.Close())
			b.StartTimer()
		}
	})
}

func enqueueLanes(b *testing.B, backend *postgres.Backend, n int, lane func(int) string) {
	b.Helper()
	for from := 0; from < n; from += 1000 {
		list := make([]*omniq.RawTask, min(1000, n-from))
		for i := range list {
			task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
			require.NoError(b, err)
			task.Lane = lane(from + i)
			list[i] = &task
		}
		_, err := backend.Enqueue(b.Context(), list)
		require.NoError(b, err)
	}
}
