package main

import (
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/pgserver"
)

// newServer starts a PostgreSQL server for the test.
func newServer(t *testing.T) *pgserver.Server {
	t.Helper()
	if err := pgserver.Check(); err != nil {
		t.Skip(err)
	}
	server, err := pgserver.Start(t.Context(), "", "fsync=off")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	return server
}

// The same commands work on Postgres.
func TestPostgres(t *testing.T) {
	s, server := newShell(t), newServer(t)
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

// A server that hangs in the middle of the work ends the command in time.
func TestPostgresHangs(t *testing.T) {
	s, server := newShell(t), newServer(t)
	u, err := url.Parse(server.URL())
	require.NoError(t, err)
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, proxy.Close()) })
	host := u.Host
	var hangs atomic.Bool
	go func() {
		for {
			in, err := proxy.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", host)
			if err != nil {
				return
			}
			for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					buf := make([]byte, 64<<10)
					for {
						n, err := ends[0].Read(buf)
						if err != nil {
							_ = ends[1].Close()
							return
						}
						if !hangs.Load() {
							_, _ = ends[1].Write(buf[:n])
						}
					}
				}()
			}
		}
	}()
	u.Host = proxy.Addr().String()
	s.url = u.String()
	s.does("migrate", "up")
	s.does("task", "enqueue", "f")
	var out, says buffer
	ended := make(chan int)
	go func() {
		ended <- s.program(&out, &says).run(t.Context(), []string{"stats", "--watch", "--interval", "100ms", "--timeout", "5s", "--backend", s.url})
	}()
	require.Eventually(t, func() bool { return out.String() != "" }, time.Minute, time.Millisecond)
	hangs.Store(true)
	began := time.Now()
	assert.Equal(t, exitFailed, <-ended)
	assert.Less(t, time.Since(began), 20*time.Second)
	assert.Contains(t, says.String(), "the engine has not answered within 5s (--timeout)")
}
