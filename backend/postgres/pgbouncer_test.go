package postgres_test

import (
	"context"
	"fmt"
	neturl "net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/internal/daemon"
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
	dir, err := os.MkdirTemp("", "pgbouncer") // not the test's, which is not open to other users
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	password, ok := server.User.Password()
	if ok {
		password = " password=" + password
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	pooled := *server
	d := &daemon.Daemon{Dir: dir, AtOnce: syscall.SIGKILL}
	d.Command = func(port int) *osexec.Cmd {
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
		c := osexec.Command(bin, config)
		if os.Getuid() == 0 {
			c.Args = append(c.Args, "-u", "nobody") // it refuses to be root
		}
		return c
	}
	d.Ready = func(ctx context.Context) error {
		pooled.Host = d.Addr()
		c, err := pgx.Connect(ctx, pooled.String())
		if err != nil {
			return err
		}
		return c.Close(ctx)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, d.Start(ctx))
	t.Cleanup(func() { assert.NoError(t, d.Crash()) })
	return pooled.String()
}
