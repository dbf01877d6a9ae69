package omniq_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestCancelPending(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("never", func(context.Context) (int, error) { t.Error("it ran"); return 0, nil })
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, h.Cancel(t.Context()))
		require.NoError(t, h.Cancel(t.Context()), "again")
		run(t, b, omniq.Handlers(d))
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrCancelled)
		status, err := h.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusCancelled, status)
		synctest.Wait()
	})
}

// The handler's context ends at once, and what it returns afterwards changes nothing.
func TestCancelRunning(t *testing.T) {
	for name, returns := range map[string]error{"a result": nil, "an error": errors.New("late"), "a snooze": omniq.Snooze(0)} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				runs := 0
				var cause error
				started, ended := make(chan struct{}), make(chan struct{})
				d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
					runs++
					close(started)
					<-ctx.Done()
					cause = context.Cause(ctx)
					close(ended)
					return 1, returns
				})
				run(t, b, omniq.Handlers(d))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				<-started
				began := time.Now()
				require.NoError(t, h.Cancel(t.Context()))
				_, err = h.Wait(t.Context())
				require.ErrorIs(t, err, omniq.ErrCancelled)
				<-ended
				assert.Zero(t, time.Since(began), "not with the next heartbeat")
				assert.ErrorIs(t, cause, omniq.ErrCancelled)
				time.Sleep(time.Minute)
				status, err := h.Status(t.Context())
				require.NoError(t, err)
				assert.Equal(t, omniq.StatusCancelled, status, "it stays so")
				assert.Equal(t, 1, runs)
			})
		})
	}
}

// Without Revoked the heartbeat finds out.
func TestCancelIsFoundByTheHeartbeat(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b}
		m.revoked = func(context.Context, string) ([]omniq.LeaseID, error) { return nil, errors.New("no connection") }
		started, ended := make(chan struct{}), make(chan error, 1)
		d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
			close(started)
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return 1, nil
		})
		run(t, m, omniq.Handlers(d), omniq.LeaseDuration(30*time.Second))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		<-started
		require.NoError(t, h.Cancel(t.Context()))
		began := time.Now()
		assert.ErrorIs(t, <-ended, omniq.ErrCancelled)
		assert.LessOrEqual(t, time.Since(began), 10*time.Second)
	})
}

func TestRequeue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var broken atomic.Bool
		broken.Store(true)
		d := omniq.DefineArgs("fragile", func(_ context.Context, a omniq.Args1[int]) (int, error) {
			if broken.Load() {
				return 0, omniq.Permanent(errors.New("out of order"))
			}
			return a.V1, nil
		})
		run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(7), omniq.TTL(time.Minute))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, "out of order")

		time.Sleep(10 * time.Minute) // longer than the TTL
		info, err := client.Inspect(t.Context(), h.ID())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusFailure, info.Status)
		assert.Equal(t, "out of order", info.Error.Message)
		var dead []uuid.UUID
		for info, err := range client.List(t.Context(), omniq.StatusFailure, "") {
			require.NoError(t, err)
			assert.Equal(t, "[7]", string(info.Task.Args))
			dead = append(dead, info.ID)
		}
		assert.Equal(t, []uuid.UUID{h.ID()}, dead)

		broken.Store(false)
		require.NoError(t, client.Requeue(t.Context(), h.ID()))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 7, got)
		require.ErrorIs(t, client.Requeue(t.Context(), h.ID()), omniq.ErrState)
		require.ErrorIs(t, h.Cancel(t.Context()), omniq.ErrState)
		require.NoError(t, client.Forget(t.Context(), h.ID()))
		require.ErrorIs(t, client.Requeue(t.Context(), h.ID()), omniq.ErrNotFound)
		_, err = client.Inspect(t.Context(), h.ID())
		require.ErrorIs(t, err, omniq.ErrNotFound)
	})
}

func TestUnique(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineArgs("report", func(_ context.Context, a omniq.Args1[string]) (string, error) { return a.V1, nil })
		first, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1("a"), omniq.Unique("today"))
		require.NoError(t, err)
		same, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1("b"), omniq.Unique("today"))
		require.ErrorIs(t, err, omniq.ErrDuplicate)
		assert.Equal(t, first.ID(), same.ID(), "the handle is the holder's")
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("c"), omniq.Unique("tomorrow"))
		require.NoError(t, err)

		task := func(key string) omniq.Task[omniq.Args1[string], omniq.NoKwargs] {
			task, err := d.Task(omniq.MakeArgs1("d"), omniq.UniqueFor(key, time.Hour))
			require.NoError(t, err)
			return task
		}
		handles, err := d.EnqueueMany(t.Context(), client, []omniq.Task[omniq.Args1[string], omniq.NoKwargs]{task("today"), task("later")})
		require.ErrorIs(t, err, omniq.ErrDuplicate)
		assert.Equal(t, first.ID(), handles[0].ID())

		run(t, b, omniq.Handlers(d))
		got, err := same.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "a", got)
		_, err = handles[1].Wait(t.Context())
		require.NoError(t, err)
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("e"), omniq.Unique("today"))
		require.NoError(t, err, "the first is final")
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("f"), omniq.Unique("later"))
		require.ErrorIs(t, err, omniq.ErrDuplicate, "final, but not for an hour yet")
		time.Sleep(time.Hour)
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("g"), omniq.Unique("later"))
		require.NoError(t, err)

		for _, o := range []omniq.TaskOption{omniq.Unique(""), omniq.Unique("a\n"), omniq.UniqueFor("a", 0)} {
			_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("h"), o)
			require.ErrorIs(t, err, omniq.ErrInvalid)
		}
	})
}

func TestPauseAndStats(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("quick", func(context.Context) (int, error) { return 1, nil })
		run(t, b, omniq.Handlers(d))
		require.NoError(t, client.Pause(t.Context(), "default"))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		stats, err := client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []omniq.QueueStats{{Queue: "default", Paused: true, Ready: 1, Latency: time.Minute}}, stats)
		require.NoError(t, client.Resume(t.Context(), "default"))
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		stats, err = client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []omniq.QueueStats{{Queue: "default", Succeeded: 1}}, stats)
		require.ErrorIs(t, client.Pause(t.Context(), "no queue"), omniq.ErrInvalid)
		require.ErrorIs(t, client.Resume(t.Context(), ""), omniq.ErrInvalid)
	})
}

func TestEventStream(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New(memory.WithEvents(time.Hour))
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		client := newClient(t, b)
		tries := 0
		d := omniq.DefineNoArgs("third time", func(context.Context) (int, error) {
			if tries++; tries < 3 {
				return 0, errors.New("not yet")
			}
			return tries, nil
		})
		run(t, b, omniq.Handlers(d))
		latest := omniq.CursorLatest
		for e, err := range client.Events(t.Context(), &latest) {
			t.Error("there is none", e, err)
		}
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)

		want := []omniq.EventType{omniq.EventEnqueued, omniq.EventStarted, omniq.EventRetried, omniq.EventStarted,
			omniq.EventRetried, omniq.EventStarted, omniq.EventCompleted}
		read := func(cursor *omniq.Cursor, most int) (types []omniq.EventType) {
			for e, err := range client.Events(t.Context(), cursor) {
				require.NoError(t, err)
				assert.Equal(t, h.ID(), e.TaskID)
				if types = append(types, e.EventType); len(types) == most {
					break
				}
			}
			return types
		}
		var cursor omniq.Cursor
		assert.Equal(t, want[:3], read(&cursor, 3), "a reader that breaks off")
		assert.Equal(t, want[3:], read(&cursor, 100), "goes on there")
		assert.Empty(t, read(&cursor, 100))
		assert.Equal(t, want, read(&latest, 100), "from what was the end")

		// Who follows waits for what is still to come.
		ctx, cancel := context.WithCancel(t.Context())
		seen := make(chan omniq.EventType)
		var last error
		go func() {
			defer close(seen)
			for e, err := range client.Follow(ctx, &cursor) {
				if last = err; err == nil {
					seen <- e.EventType
				}
			}
		}()
		time.Sleep(10 * time.Minute)
		again, err := d.Enqueue(t.Context(), client, omniq.Delay(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, omniq.EventEnqueued, <-seen)
		require.NoError(t, again.Cancel(t.Context()))
		assert.Equal(t, omniq.EventCancelled, <-seen)
		cancel()
		for range seen {
			t.Error("nothing more")
		}
		assert.ErrorIs(t, last, context.Canceled)
	})
}

func TestNoEvents(t *testing.T) {
	_, client := newMemory(t)
	var cursor omniq.Cursor
	for _, err := range client.Events(t.Context(), &cursor) {
		require.ErrorIs(t, err, omniq.ErrNoEvents)
	}
}

// What goes through an Enqueuer goes there at once, and nowhere else.
func TestThrough(t *testing.T) {
	b, client := newMemory(t)
	other := memory.New()
	t.Cleanup(func() { assert.NoError(t, other.Close()) })
	d := omniq.ReferArgs[omniq.Args1[int], int]("elsewhere")
	h, err := d.Enqueue(t.Context(), client.Through(other), omniq.MakeArgs1(1))
	require.NoError(t, err)
	_, err = b.Inspect(t.Context(), h.ID())
	require.ErrorIs(t, err, omniq.ErrNotFound)
	_, err = other.Inspect(t.Context(), h.ID())
	require.NoError(t, err)
	_, err = d.Enqueue(t.Context(), client.Through(other), omniq.MakeArgs1(1), omniq.ID(h.ID()))
	require.ErrorIs(t, err, omniq.ErrDuplicate)
}

func TestLookingAfterTasksOfAClosedBackend(t *testing.T) {
	b := memory.New(memory.WithEvents(time.Hour))
	client := newClient(t, b)
	require.NoError(t, b.Close())
	ctx, id := t.Context(), uuid.New()
	_, inspectErr := client.Inspect(ctx, id)
	_, statsErr := client.Stats(ctx)
	var listErr, eventsErr error
	for _, err := range client.List(ctx, omniq.StatusPending, "") {
		listErr = err
	}
	var cursor omniq.Cursor
	for _, err := range client.Follow(ctx, &cursor) {
		eventsErr = err
	}
	for what, err := range map[string]error{
		"cancel task": client.Cancel(ctx, id), "requeue task": client.Requeue(ctx, id), "forget task": client.Forget(ctx, id),
		"pause queue": client.Pause(ctx, "q"), "resume queue": client.Resume(ctx, "q"),
		"inspect task": inspectErr, "stats": statsErr, "list PENDING tasks": listErr, "events after": eventsErr,
	} {
		require.ErrorIs(t, err, omniq.ErrClosed, what)
		assert.ErrorContains(t, err, "omniq: "+what)
	}
}
