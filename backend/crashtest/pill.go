package crashtest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

const (
	pillWorker       = "pill worker"
	prefetchVariable = "OMNIQ_CRASHTEST_PREFETCH"
	pillLease        = 2 * time.Second
	pillExit         = 9 // how a process ends that took the pill
)

// The tasks of [Pill]: one that ends its process, and those that share one with it.
var (
	pill     = omniq.ReferNoArgs[omniq.Void]("crashtest.pill")
	innocent = omniq.ReferArgs[omniq.Args1[time.Duration], int]("crashtest.innocent")
)

// PillPlan is what [Pill] does.
type PillPlan struct {
	Place    string // of the backend, which is empty
	Retries  int    // of each task
	Prefetch int    // of the worker
	Short    int    // how many tasks of 20 ms are enqueued with the pill
	Long     int    // how many of 3 s, which are more than a lease lasts
}

// Pill lets a task end its worker's process each time that it runs, starts another one in its place, and checks that the
// task fails for good after as many losses as it may have, and that none of those that ran beside it fails.
func Pill(t *testing.T, open Open, plan PillPlan) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b, err := open(plan.Place)
	require.NoError(t, err)
	defer func() { assert.NoError(t, b.Close()) }()
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	retries := omniq.Retries(plan.Retries)
	bad, err := pill.Enqueue(ctx, client, retries)
	require.NoError(t, err)
	var good []*omniq.Handle[int]
	for i := range plan.Long + plan.Short {
		took := pillLease + time.Second
		if i >= plan.Long {
			took = 20 * time.Millisecond
		}
		h, err := innocent.Enqueue(ctx, client, omniq.MakeArgs1(took), retries)
		require.NoError(t, err)
		good = append(good, h)
	}

	ended := make(chan struct{})
	crashes := 0
	working, stop := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		for working.Err() == nil {
			if !workUntilThePill(working, t, plan) {
				return
			}
			crashes++
		}
	}()
	for _, h := range good {
		attempt, err := h.Wait(ctx)
		if assert.NoError(t, err, "a task that ran beside the pill") {
			assert.Positive(t, attempt)
		}
	}
	_, err = bad.Wait(ctx)
	assert.ErrorIs(t, err, omniq.ErrLeaseLost)
	stop()
	<-ended
	most := max(plan.Retries+1, 3)
	assert.Equal(t, most, crashes, "processes that took the pill")
	t.Logf("%d processes died of the pill; %d other tasks succeeded", crashes, len(good))
}

// workUntilThePill runs a worker in a process, and reports whether it has ended by the pill.
func workUntilThePill(ctx context.Context, t *testing.T, plan PillPlan) bool {
	self, err := os.Executable()
	if !assert.NoError(t, err) {
		return false
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+pillWorker, placeVariable+"="+plan.Place,
		prefetchVariable+"="+strconv.Itoa(plan.Prefetch))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe() // stays open as long as the process may live
	if !assert.NoError(t, err) {
		return false
	}
	defer func() { _ = stdin.Close() }()
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == pillExit {
		return true
	}
	assert.Error(t, ctx.Err(), "the worker ended by itself: %v\n%s", err, &stderr)
	return false
}

// takePills works until the pill comes.
func takePills(ctx context.Context, b omniq.Backend) error {
	prefetch, err := strconv.Atoi(os.Getenv(prefetchVariable))
	if err != nil {
		return err
	}
	w, err := omniq.NewWorker(b,
		omniq.Handlers(
			omniq.DefineNoArgsVoid(pill, func(context.Context) error {
				time.Sleep(50 * time.Millisecond)
				os.Exit(pillExit)
				return nil
			}),
			omniq.DefineArgs(innocent, func(ctx context.Context, a omniq.Args1[time.Duration]) (int, error) {
				pause(ctx, a.V1)
				info, _ := omniq.InfoFrom(ctx)
				return info.Attempt, context.Cause(ctx)
			}),
		),
		omniq.Prefetch(prefetch), omniq.LeaseDuration(pillLease), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	return w.Run(ctx)
}
