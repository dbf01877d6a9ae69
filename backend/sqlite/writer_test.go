package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func opened(t *testing.T, opts ...Option) *Backend {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "queue.db"), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// lockWait sets how long a backend waits for locks.
func lockWait(d time.Duration) Option { return func(c *config) { c.lockWait = d } }

// held keeps the file locked until it is called.
func held(t *testing.T, b *Backend) (release func()) {
	t.Helper()
	transaction, err := b.DB().Begin()
	require.NoError(t, err)
	return func() { require.NoError(t, transaction.Rollback()) }
}

// A file that is up to date is opened whatever others write: beside processes that write all the time, too.
func TestOpenLocked(t *testing.T) {
	b := opened(t)
	release := held(t, b)
	defer release()
	second, err := Open(b.path, lockWait(time.Nanosecond))
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	_, err = second.Stats(t.Context())
	require.NoError(t, err)
}

// A file that is to be upgraded waits for a lock.
func TestUpgradeLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA journal_mode = WAL; CREATE TABLE theirs (n INTEGER); BEGIN IMMEDIATE")
	require.NoError(t, err)

	_, err = Open(path, lockWait(20*time.Millisecond))
	require.ErrorIs(t, err, ErrLocked)

	type answer struct {
		b   *Backend
		err error
	}
	opened := make(chan answer)
	go func() {
		b, err := Open(path)
		opened <- answer{b, err}
	}()
	_, err = db.Exec("COMMIT")
	require.NoError(t, err)
	a := <-opened
	require.NoError(t, a.err)
	require.NoError(t, a.b.Close())
}

// One write that fails does not take those down that are in the same transaction.
func TestOneFails(t *testing.T) {
	b := opened(t)
	release := held(t, b)
	wrong := errors.New("wrong")
	var all sync.WaitGroup
	var tasks []*omniq.RawTask
	for i := range 20 {
		task := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
		tasks = append(tasks, task)
		all.Go(func() {
			if i%5 == 0 {
				err := b.write(t.Context(), func(x *tx) error {
					_, err := x.q.exec("DELETE FROM omniq_tasks")
					return errors.Join(err, wrong)
				})
				assert.ErrorIs(t, err, wrong)
				return
			}
			errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{task})
			assert.NoError(t, err)
			assert.Nil(t, errs)
		})
	}
	require.Eventually(t, func() bool {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return len(b.w.ops) == 20
	}, 5*time.Second, time.Millisecond)
	release()
	all.Wait()
	for i, task := range tasks {
		_, err := b.Result(t.Context(), task.ID)
		if i%5 == 0 {
			assert.ErrorIs(t, err, omniq.ErrNotFound)
		} else {
			assert.NoError(t, err)
		}
	}
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, 16, stats[0].Ready)
}

// Who waits for the lock gets an error when it is kept for too long, and Close does not wait for it.
func TestLocked(t *testing.T) {
	b := opened(t, lockWait(50*time.Millisecond))
	release := held(t, b)
	task := []*omniq.RawTask{{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}}
	_, err := b.Enqueue(t.Context(), task)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, b.path)
	release()

	b = opened(t, lockWait(time.Hour))
	release = held(t, b)
	done := make(chan error)
	go func() {
		_, err := b.Enqueue(t.Context(), task)
		done <- err
	}()
	require.Eventually(t, func() bool { return b.w.waits() }, 5*time.Second, time.Millisecond)
	go func() { _ = b.Close() }() // the pool waits for the transaction
	require.ErrorIs(t, <-done, omniq.ErrClosed)
	release()
}

// What is gone does not stay in the file.
func TestSweep(t *testing.T) {
	b := opened(t)
	ttl := time.Millisecond
	task := &omniq.RawTask{
		ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), ResultTTL: &ttl, UniqueKey: "k", UniqueFor: time.Millisecond,
	}
	_, err := b.Enqueue(t.Context(), []*omniq.RawTask{task})
	require.NoError(t, err)
	_, err = b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Second})
	require.NoError(t, err)
	_, err = b.Cancel(t.Context(), []uuid.UUID{task.ID})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var n int64
		err := b.read(t.Context(), func(c *conn) (err error) {
			n, err = one(c, `SELECT (SELECT count(*) FROM omniq_results) + (SELECT count(*) FROM omniq_unique) +
				(SELECT count(*) FROM omniq_revoked) + (SELECT count(*) FROM omniq_counts) + (SELECT count(*) FROM omniq_tasks)`)
			return err
		})
		return err == nil && n == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// Nothing is acknowledged that went to files which were deleted while it was written.
func TestGoneWhileWriting(t *testing.T) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		t.Run("queue.db"+suffix, func(t *testing.T) {
			b := opened(t)
			err := b.write(t.Context(), func(*tx) error { return os.Remove(b.path + suffix) })
			require.ErrorIs(t, err, ErrGone)
			_, err = b.Enqueue(t.Context(), []*omniq.RawTask{aTask()})
			require.ErrorIs(t, err, ErrGone)
		})
	}
}
