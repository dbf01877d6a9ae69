package sqlite_test

import (
	"database/sql"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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

// openCrash opens a place of crashtest: a file, and after a bar by how much the process's clock is ahead.
func openCrash(place string) (omniq.Backend, error) {
	file, ahead, skewed := strings.Cut(place, "|")
	opts := []sqlite.Option{sqlite.LockWait(time.Minute)} // disks were seen that take 18 s for a commit
	if skewed {
		by, err := time.ParseDuration(ahead)
		if err != nil {
			return nil, err
		}
		opts = append(opts, sqlite.WithClock(func() time.Time { return time.Now().Add(by) }))
	}
	b, err := sqlite.Open(file, opts...)
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

// Five processes whose clocks are seconds apart declare a schedule, serve it and are killed: each tick has one run.
func TestCrashOfSchedules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queue.db")
	var places []string
	for _, ahead := range []string{"-6s", "-3s", "0s", "3s", "6s"} {
		places = append(places, file+"|"+ahead)
	}
	r := crashtest.Schedules(t, openCrash, crashtest.Plan{Place: file, Places: places, Workers: len(places), Duration: *crashTime})
	assert.Positive(t, r.Stopped)
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
