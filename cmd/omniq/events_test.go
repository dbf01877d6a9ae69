package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/sqlite"
)

// The command reads what others keep, and writes none itself unless it is told to.
func TestEventsOfOthers(t *testing.T) {
	s := newShell(t)
	path := filepath.Join(t.TempDir(), "queue.db")
	s.url = "sqlite:" + path
	s.does("migrate", "up")
	s.does("task", "enqueue", "f", "--id", id(1).String())
	for _, follow := range []string{"--follow=false", "--follow"} {
		status, out, says := s.run("events", follow)
		assert.Equal(t, exitFailed, status)
		assert.Empty(t, out)
		assert.Equal(t, "omniq: nobody keeps events here: see OMNIQ_EVENTS\n", says)
	}
	other, err := sqlite.Open(path, sqlite.WithEvents(time.Hour))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	_, err = other.Cancel(t.Context(), []uuid.UUID{id(1)})
	require.NoError(t, err)
	s.does("task", "requeue", id(1).String())
	assert.Regexp(t, `^{[^\n]+"CANCELLED"[^\n]+\n$`, s.does("events", "-o", "jsonl"))
}
