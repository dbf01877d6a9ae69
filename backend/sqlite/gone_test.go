package sqlite_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// A file that is deleted or replaced while it is open is not used any more: all calls say so within a second, those that
// wait too, and what was acknowledged is in the file that was there.
func TestGone(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, path string)
		says string
	}{
		{"deleted", func(t *testing.T, path string) {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				require.NoError(t, os.Remove(path+suffix))
			}
		}, "deleted"},
		{"moved", func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".old")) }, "deleted"},
		{"replaced", func(t *testing.T, path string) {
			b, err := sqlite.Open(path + ".backup")
			require.NoError(t, err)
			require.NoError(t, b.Close())
			require.NoError(t, os.Rename(path+".backup", path))
		}, "replaced"},
		{"the log deleted", func(t *testing.T, path string) { require.NoError(t, os.Remove(path+"-wal")) }, "-wal was "},
		{"what is shared deleted", func(t *testing.T, path string) { require.NoError(t, os.Remove(path+"-shm")) }, "-shm was "},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := place(t)
			b, err := sqlite.Open(path, sqlite.WithEvents(time.Hour))
			require.NoError(t, err)
			task := newTasks(1)[0]
			enqueue(t, b, task)
			open, err := b.DB().Begin()
			require.NoError(t, err)
			require.NoError(t, open.Rollback()) // the pool has a connection
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			calls := map[string]func() error{
				"Lease": func() error {
					_, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"q"}, Max: 1, Duration: time.Minute, Wait: time.Minute})
					return err
				},
				"Revoked": func() error { _, err := b.Revoked(ctx, "w"); return err },
				"Await":   func() error { _, err := b.Await(ctx, task.ID); return err },
				"Events": func() error {
					_, _, err := b.Events(ctx, omniq.EventsRequest{After: omniq.CursorLatest, Max: 1, Wait: time.Minute})
					return err
				},
			}
			type answer struct {
				name string
				err  error
			}
			answers := make(chan answer, len(calls))
			for name, call := range calls {
				go func() { answers <- answer{name, call()} }()
			}
			require.Eventually(t, b.Awaits, 10*time.Second, time.Millisecond)
			c.end(t, path)
			_, err = b.Enqueue(ctx, newTasks(1))
			require.ErrorIs(t, err, sqlite.ErrGone, "a write looks each time")
			require.ErrorContains(t, err, c.says)
			for range calls {
				a := <-answers
				assert.ErrorIs(t, a.err, sqlite.ErrGone, a.name)
			}
			_, err = b.Stats(ctx)
			assert.ErrorIs(t, err, sqlite.ErrGone)
			_, err = b.DB().Begin()
			assert.ErrorIs(t, err, sqlite.ErrGone)
			for name, call := range calls {
				assert.ErrorIs(t, call(), sqlite.ErrGone, name)
			}
			require.NoError(t, b.Close())
		})
	}
}

// Who only reads or waits hears of it too.
func TestGoneForReaders(t *testing.T) {
	path := place(t)
	b, err := sqlite.Open(path)
	require.NoError(t, err)
	task := newTasks(1)[0]
	enqueue(t, b, task)
	waiting := make(chan error, 1)
	go func() { _, err := b.Await(t.Context(), task.ID); waiting <- err }()
	require.Eventually(t, b.Awaits, 10*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(path))
	require.Eventually(t, func() bool {
		_, err := b.Result(t.Context(), task.ID)
		return errors.Is(err, sqlite.ErrGone)
	}, 10*time.Second, 10*time.Millisecond)
	assert.ErrorIs(t, <-waiting, sqlite.ErrGone)
	assert.NoFileExists(t, path)
	require.NoError(t, b.Close())
}

// A path may be a symbolic link to the file.
func TestSymbolicLink(t *testing.T) {
	path := place(t)
	b := open(t, path)
	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	linked, err := sqlite.Open(link)
	require.NoError(t, err)
	task := newTasks(1)[0]
	enqueue(t, b, task)
	assert.Equal(t, task.ID, lease(t, linked, time.Minute).TaskID)
	require.NoError(t, os.Remove(link))
	_, err = linked.Enqueue(t.Context(), newTasks(1))
	require.ErrorIs(t, err, sqlite.ErrGone)
	require.NoError(t, linked.Close())
	enqueue(t, b, newTasks(1)...)
}

// A transaction of a caller's does not commit into a file that is gone.
func TestGoneInTransaction(t *testing.T) {
	path := place(t)
	b, err := sqlite.Open(path)
	require.NoError(t, err)
	transaction, err := b.DB().Begin()
	require.NoError(t, err)
	_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, transaction.Commit(), sqlite.ErrGone)
	_, err = b.Enqueue(t.Context(), newTasks(1))
	require.ErrorIs(t, err, sqlite.ErrGone)
	require.NoError(t, b.Close())
}
