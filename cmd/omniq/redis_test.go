package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/redisserver"
)

// The same commands work on Redis, which has no tables to be made.
func TestRedis(t *testing.T) {
	s := newShell(t)
	server, err := redisserver.Start(t.Context(), "", "--appendonly", "yes")
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	s.url = server.URL() + "?namespace=shop"

	assert.Contains(t, s.does("migrate", "status"), "up to date")
	first := strings.TrimSpace(s.does("task", "enqueue", "f", "--args", "[1]", "--queue", "q"))
	s.does("task", "enqueue", "g", "--queue", "q")
	assert.Contains(t, s.does("stats"), "q ")
	assert.Contains(t, s.does("task", "list", "--name", "f", "-o", "jsonl"), first)
	assert.Equal(t, "2 tasks cancelled\n", s.does("task", "cancel", "--queue", "q", "--yes"))
	assert.Equal(t, "1 task requeued\n", s.does("task", "requeue", first))
	assert.Contains(t, s.does("task", "get", first), "PENDING")
	s.does("queue", "pause", "q")
	s.does("queue", "limit", "q", "5")
	assert.Contains(t, s.does("stats", "-o", "json"), `"paused":true`)
	assert.Contains(t, s.does("queue", "limit", "q"), "5")
	assert.NotEmpty(t, s.does("errors", "--status", "cancelled"))
	s.url = server.URL()
	assert.NotContains(t, s.does("stats"), "q ", "another namespace")

	require.NoError(t, server.Crash())
	status, _, says := s.run("stats")
	assert.Equal(t, exitFailed, status)
	assert.Contains(t, says, "refused")
}
