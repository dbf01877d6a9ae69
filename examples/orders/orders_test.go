package orders_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/examples/internal/server"
)

// Two programs on one queue: what one enqueues the other works.
func TestProducerAndWorker(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./producer", "./worker")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "orders.db") },
		"postgres": server.URL,
		"redis":    server.Redis,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OMNIQ_BACKEND_URL", url(t))
			t.Setenv("OMNIQ_EVENTS", "true")
			var log bytes.Buffer
			worker := exec.Command(filepath.Join(dir, "worker"))
			worker.Stderr = &log
			require.NoError(t, worker.Start())
			out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "producer"), "3").CombinedOutput()
			assert.NoError(t, err)
			assert.Equal(t, "order 1: Malmö-0001\norder 2: Malmö-0002\norder 3: Malmö-0003\n", string(out))
			require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
			assert.NoError(t, worker.Wait(), log.String())
		})
	}

	out, err = exec.Command(filepath.Join(dir, "producer"), "none").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "usage: producer")
	t.Setenv("OMNIQ_BACKEND_URL", "memory:")
	out, err = exec.Command(filepath.Join(dir, "worker")).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), `"memory", and this program can open the schemes ["sqlite" "postgres" "postgresql" "redis" "rediss" "valkey" "valkeys"] only`)
	t.Setenv("OMNIQ_CONCURRENCY", "0")
	t.Setenv("OMNIQ_EVENTS", "often")
	out, err = exec.Command(filepath.Join(dir, "worker")).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "OMNIQ_CONCURRENCY")
	assert.Contains(t, string(out), "OMNIQ_EVENTS")
}
