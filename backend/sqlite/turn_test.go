package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// waiters is how many wait for a turn.
func (t *turns) waiters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.queue)
	if t.writer != nil {
		n++
	}
	return n
}

// The writer and callers alternate, and callers come in their order, without those who have given up.
func TestTurns(t *testing.T) {
	var turns turns
	require.NoError(t, turns.take(t.Context(), false))
	var mu sync.Mutex
	var order []string
	var all sync.WaitGroup
	line := func(ctx context.Context, name string, caller bool) {
		n := turns.waiters()
		all.Go(func() {
			if turns.take(ctx, caller) != nil {
				return
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			turns.pass()
		})
		require.Eventually(t, func() bool { return turns.waiters() > n }, 10*time.Second, 100*time.Microsecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	line(t.Context(), "first", true)
	line(ctx, "gone", true)
	line(t.Context(), "second", true)
	line(t.Context(), "writer", false)
	line(t.Context(), "third", true)
	cancel()
	require.Eventually(t, func() bool { return turns.waiters() == 4 }, 10*time.Second, 100*time.Microsecond)
	turns.pass()
	all.Wait()
	assert.Equal(t, []string{"first", "writer", "second", "third"}, order)
	require.NoError(t, turns.take(t.Context(), true), "it is free")
}

// A caller gets its turn after the transaction that is going on, even if there is more to write.
func TestCallersTurn(t *testing.T) {
	b := opened(t)
	writing, write := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		assert.NoError(t, b.write(t.Context(), func(*tx) error { close(writing); <-write; return nil }))
	})
	<-writing
	written := make(chan struct{})
	all.Go(func() {
		assert.NoError(t, b.write(t.Context(), func(*tx) error { close(written); return nil }))
	})
	require.Eventually(t, b.w.waits, 10*time.Second, 100*time.Microsecond)
	began := make(chan *sql.Tx)
	go func() {
		transaction, err := b.DB().Begin()
		assert.NoError(t, err)
		began <- transaction
	}()
	require.Eventually(t, func() bool { return b.turns.waiters() == 1 }, 10*time.Second, 100*time.Microsecond)
	close(write)
	transaction := <-began
	select {
	case <-written:
		assert.Fail(t, "the writer went on before")
	default:
	}
	require.NoError(t, transaction.Rollback())
	all.Wait()
}

// An error of who waits for the lock tells whose transaction it is, if that is known.
func TestWhoLocks(t *testing.T) {
	b := opened(t, lockWait(time.Second))
	other, err := Open(b.path, lockWait(time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	calls := func(b *Backend) map[string]func() error {
		return map[string]func() error{
			"Enqueue": func() error { _, err := b.Enqueue(t.Context(), []*omniq.RawTask{aTask()}); return err },
			"Settle": func() error {
				_, err := b.Settle(t.Context(), []omniq.Settlement{{Action: omniq.ActionRelease, LeaseID: omniq.LeaseID{Token: "1"}}})
				return err
			},
			"Extend": func() error {
				_, err := b.Extend(t.Context(), []omniq.LeaseID{{Token: "1"}}, time.Minute)
				return err
			},
			"Begin": func() error { _, err := b.DB().Begin(); return err },
			"Exec":  func() error { _, err := b.DB().Exec("DELETE FROM omniq_paused"); return err },
			"script": func() error {
				_, err := b.DB().Exec("SELECT 1; DELETE FROM omniq_paused")
				return err
			},
		}
	}
	release := held(t, b)
	var all sync.WaitGroup
	for name, call := range calls(b) {
		all.Go(func() {
			err := call()
			assert.ErrorIs(t, err, ErrLocked, name)
			assert.ErrorContains(t, err, "a transaction of Backend.DB in this process keeps it, which has been open for", name)
		})
	}
	for name, call := range calls(other) {
		all.Go(func() {
			err := call()
			assert.ErrorIs(t, err, ErrLocked, name)
			assert.ErrorContains(t, err, unknown, name)
		})
	}
	all.Wait()
	_, err = b.Stats(t.Context())
	assert.NoError(t, err, "who reads does not wait")
	var n int
	assert.NoError(t, b.DB().QueryRow("SELECT count(*) FROM omniq_tasks").Scan(&n))
	release()
	for _, b := range []*Backend{b, other} {
		for name, call := range calls(b) {
			if name != "Begin" {
				assert.NoError(t, call(), name)
			}
		}
	}
}

// A writer that does not know the state of its connection takes another one.
func TestUnknownState(t *testing.T) {
	b := opened(t)
	var old *conn
	require.NoError(t, b.write(t.Context(), func(*tx) error { old = b.w.c; old.failed = true; return nil }))
	task := aTask()
	_, err := b.Enqueue(t.Context(), []*omniq.RawTask{task})
	require.NoError(t, err)
	require.NoError(t, b.write(t.Context(), func(*tx) error { assert.NotSame(t, old, b.w.c); return nil }))
	_, err = b.Result(t.Context(), task.ID)
	require.NoError(t, err)
}
