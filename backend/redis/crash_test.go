package redis_test

import (
	"context"
	"flag"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/crashtest"
	"github.com/omniq-go/omniq/backend/redis"
)

var crashTime = flag.Duration("crash", 4*time.Second, "how long TestCrash kills processes")

// openCrash opens a place of crashtest: a namespace and a URL.
func openCrash(place string) (omniq.Backend, error) {
	words := strings.Fields(place)
	b, err := redis.Open(context.Background(), words[1], redis.WithNamespace(words[0]), redis.WithEvents(time.Hour),
		redis.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Processes that enqueue and work are killed in the middle of whatever they do. Longer: go test -run TestCrash -crash 5m
func TestCrash(t *testing.T) {
	t.Parallel()
	name := namespace(t)
	r := crashtest.Run(t, openCrash, crashtest.Plan{Place: name + " " + url(t), Signal: syscall.SIGKILL, Duration: *crashTime})
	assert.Positive(t, r.Stored)
	checkConsistent(t, url(t), name)
}

// So are those that work flows. Longer: go test -run TestCrashOfFlows -crash 5m
func TestCrashOfFlows(t *testing.T) {
	t.Parallel()
	name := namespace(t)
	r := crashtest.Flows(t, openCrash, crashtest.Plan{Place: name + " " + url(t), Duration: *crashTime})
	assert.Positive(t, r.Stored)
	checkConsistent(t, url(t), name)
}

// Five processes declare a schedule, serve it and are killed: each tick has one run.
func TestCrashOfSchedules(t *testing.T) {
	t.Parallel()
	r := crashtest.Schedules(t, openCrash, crashtest.Plan{Place: namespace(t) + " " + url(t), Workers: 5, Duration: *crashTime})
	assert.Positive(t, r.Stopped)
}

// Processes that are asked to stop use up no attempt, and leave nothing to be done twice.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	r := crashtest.Run(t, openCrash, crashtest.Plan{Place: namespace(t) + " " + url(t), Signal: syscall.SIGTERM, Duration: *crashTime})
	assert.Positive(t, r.Stored)
	assert.Zero(t, r.Repeated)
}
