package sqlite_test

import (
	"database/sql"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/crashtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

var crashTime = flag.Duration("crash", 4*time.Second, "how long TestCrash kills processes")

func TestMain(m *testing.M) {
	crashtest.Child(openCrash)
	openChild()
	remoteChild()
	flag.Parse()
	// Much of what tests do is to wait, for the disk or for a time.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("6")
	}
	os.Exit(m.Run())
}

func openCrash(place string) (omniq.Backend, error) {
	b, err := sqlite.Open(place)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Processes that enqueue and work are killed in the middle of whatever they do. Longer: go test -run TestCrash -crash 5m
func TestCrash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queue.db")
	r := crashtest.Run(t, openCrash, crashtest.Plan{Place: file, Signal: syscall.SIGKILL, Duration: *crashTime})
	assert.Positive(t, r.Stored)
	checkIntegrity(t, file)
}

// So are those that work flows. Longer: go test -run TestCrashOfFlows -crash 5m
func TestCrashOfFlows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queue.db")
	r := crashtest.Flows(t, openCrash, crashtest.Plan{Place: file, Duration: *crashTime})
	assert.Positive(t, r.Stored)
	checkIntegrity(t, file)
}

// Processes that are asked to stop use up no attempt, and leave nothing to be done twice.
func TestGracefulStopUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queue.db")
	r := crashtest.Run(t, openCrash, crashtest.Plan{Place: file, Signal: syscall.SIGTERM, Duration: *crashTime / 2})
	assert.Positive(t, r.Stored)
	assert.Zero(t, r.Repeated)
	checkIntegrity(t, file)
}

// checkIntegrity lets SQLite look whether the file is sound.
func checkIntegrity(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	var answer string
	require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&answer))
	assert.Equal(t, "ok", answer)
}
