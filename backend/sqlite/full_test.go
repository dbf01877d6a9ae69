//go:build linux

package sqlite_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// The disk is full in the middle of work: callers are told, and once there is space again everything that was
// acknowledged is there, without opening the file again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a small disk cannot be made here (%v): run this test as root", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0)) })
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 6<<20), 0o600))
	file := filepath.Join(dir, "queue.db")
	b, err := sqlite.Open(file)
	require.NoError(t, err)
	client, err := omniq.NewClient(b)
	require.NoError(t, err)

	echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[string]) (string, error) { return a.V1, nil })
	w, err := omniq.NewWorker(b, omniq.Handlers(echo), omniq.Concurrency(4), omniq.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	text := strings.Repeat("x", 8<<10)
	var mu sync.Mutex
	var stored []*omniq.Handle[string]
	var told []error
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for {
				h, err := echo.Enqueue(t.Context(), client, omniq.MakeArgs1(text))
				mu.Lock()
				if err != nil {
					told = append(told, err)
					mu.Unlock()
					return
				}
				stored = append(stored, h)
				mu.Unlock()
			}
		})
	}
	producers.Wait()
	for _, err := range told {
		assert.ErrorIs(t, err, sqlite.ErrFull)
	}
	assert.NotEmpty(t, stored)

	require.NoError(t, os.Remove(ballast))
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, err := echo.Enqueue(waiting, client, omniq.MakeArgs1("after"))
	require.NoError(t, err, "there is space again")
	for _, h := range append(stored, h) {
		_, err := h.Wait(waiting)
		require.NoError(t, err)
	}
	t.Logf("%d tasks were acknowledged before the disk was full, and are done", len(stored))
	stop()
	require.NoError(t, <-done)
	require.NoError(t, b.Close())
	checkIntegrity(t, file)
}
