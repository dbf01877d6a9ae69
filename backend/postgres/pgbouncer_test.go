package postgres_test

import (
	"context"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
)

// The contract is kept behind a pooler that gives each transaction another connection.
func TestConformanceBehindPgBouncer(t *testing.T) {
	all := newStores(t)
	all.url = pgbouncer(t)
	open := func(t *testing.T) *lent {
		return all.one(t, postgres.WithoutNotify(), postgres.WithPollInterval(20*time.Millisecond))
	}
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t) }, backendtest.Quick(),
		backendtest.Transactions(func(t *testing.T) (omniq.Backend, func() backendtest.Tx) {
			b := open(t)
			db := stdlib.OpenDBFromPool(b.Pool())
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return b, func() backendtest.Tx {
				tx, err := db.Begin()
				require.NoError(t, err)
				return backendtest.Tx{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
			}
		}))
}

// pgbouncer starts one before the server, with few connections and transaction pooling, and returns its URL.
func pgbouncer(t *testing.T) string {
	t.Helper()
	server, err := neturl.Parse(url(t))
	require.NoError(t, err)
	bin, err := osexec.LookPath("pgbouncer")
	if err != nil {
		bin = "/usr/sbin/pgbouncer" // where Debian has it, which is not on everybody's PATH
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skip("there is no pgbouncer: install the package pgbouncer")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	dir, err := os.MkdirTemp("", "pgbouncer") // not the test's, which is not open to other users
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	password, ok := server.User.Password()
	if ok {
		password = " password=" + password
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
[databases]
* = host=%s port=%s user=%s%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits
`, server.Hostname(), server.Port(), server.User.Username(), password, port), 0o644))
	c := osexec.CommandContext(t.Context(), bin, config)
	if os.Getuid() == 0 {
		c.Args = append(c.Args, "-u", "nobody") // it refuses to be root
	}
	var log lines
	c.Stderr = &log
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	pooled := *server
	pooled.Host = fmt.Sprintf("127.0.0.1:%d", port)
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		c, err := pgx.Connect(context.Background(), pooled.String())
		require.NoError(t, err, log.String())
		require.NoError(t, c.Close(context.Background()))
	}, 10*time.Second, 10*time.Millisecond)
	return pooled.String()
}
