package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/pgserver"
)

// The same commands work on Postgres.
func TestPostgres(t *testing.T) {
	s := newShell(t)
	if err := pgserver.Check(); err != nil {
		t.Skip(err)
	}
	server, err := pgserver.Start(t.Context(), "", "fsync=off")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	s.url = server.URL()

	status, _, says := s.run("stats")
	assert.Equal(t, exitFailed, status)
	assert.Contains(t, says, "omniq migrate up")
	assert.Contains(t, s.does("migrate", "sql"), "CREATE SCHEMA omniq;")
	status, _, _ = s.run("migrate", "status")
	assert.Equal(t, exitNot, status)
	s.does("migrate", "up")
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

	require.NoError(t, server.Stop())
	status, _, says = s.run("stats")
	assert.Equal(t, exitFailed, status)
	assert.NotEmpty(t, says)
}
