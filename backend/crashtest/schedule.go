package crashtest

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

const (
	scheduleWorker = "schedule worker"
	scheduleName   = "crashtest.schedule"
	ticks          = 1000
	tickDistance   = 20 * time.Millisecond
)

// tick is the run of a tick: its result is the tick's time in microseconds.
var tick = omniq.ReferArgs[omniq.Tick, int64]("crashtest.tick", omniq.Retries(1_000_000))

// declareTicks declares the schedule, as each process does when it starts.
func declareTicks(ctx context.Context, c *omniq.Client) (*omniq.ScheduleHandle[int64], error) {
	return omniq.Schedule(ctx, c, scheduleName, omniq.Every(tickDistance), tick.On(omniq.AtTick()), omniq.MaxRuns(ticks),
		omniq.CatchUp(time.Hour, omniq.MaxCatchUp), omniq.Overlap(omniq.Allow))
}

func workTicks(ctx context.Context, b omniq.Backend) error {
	lease, err := time.ParseDuration(os.Getenv(leaseVariable))
	if err != nil {
		return err
	}
	client, err := omniq.NewClient(b)
	if err != nil {
		return err
	}
	handler := omniq.DefineArgs(tick, func(_ context.Context, t omniq.Tick) (int64, error) { return t.Time.UnixMicro(), nil })
	w, err := omniq.NewWorker(b, omniq.Handlers(handler), omniq.LeaseDuration(lease),
		omniq.RetryDelays(omniq.Constant(10*time.Millisecond), 0.5), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	if _, err := declareTicks(ctx, client); err != nil {
		return err
	}
	say(line(wordStored, uuid.NewSHA1(uuid.NameSpaceURL, []byte(scheduleName)), 0))
	return w.Run(ctx)
}

// Schedules kills processes that declare and serve one schedule, and work its runs. It fails the test unless a thousand ticks
// have one run each, and each tick between them without one was counted as missed. The plan's signal is SIGKILL.
func Schedules(t *testing.T, open Open, plan Plan) Report {
	t.Helper()
	plan.Signal = syscall.SIGKILL
	r := newRunner(t, plan, "", scheduleWorker)
	r.plan.Producers = 0
	began := time.Now()
	r.stopAtRandom()
	r.checkTicks(open)
	r.stopAll(scheduleWorker)
	r.report.Took = time.Since(began)
	t.Logf("%d processes stopped in %v; %d ticks, %d runs", r.report.Stopped, r.report.Took.Round(time.Second), ticks, r.report.Results)
	return r.report
}

// checkTicks waits until the schedule has ended, and looks at its runs.
func (r *runner) checkTicks(open Open) {
	b, err := open(r.plan.Place)
	require.NoError(r.t, err)
	defer func() { assert.NoError(r.t, b.Close()) }()
	client, err := omniq.NewClient(b)
	require.NoError(r.t, err)
	s := omniq.AttachSchedule[int64](client, scheduleName)
	var info *omniq.ScheduleInfo
	require.Eventually(r.t, func() bool {
		var stats []omniq.QueueStats
		if info, err = s.Describe(r.t.Context()); err == nil {
			stats, err = client.Stats(r.t.Context())
		}
		if !assert.NoError(r.t, err) {
			return true
		}
		left := 0
		for _, q := range stats {
			if q.Queue != omniq.ScheduleQueue {
				left += q.Waiting + q.Ready + q.Scheduled + q.Running
			}
		}
		return info.Ended && left == 0
	}, r.plan.Finish, 20*time.Millisecond, "the schedule has not ended")
	require.NoError(r.t, err)
	missed := info.Counts.Missed // of a machine that was too busy to begin anything for as long as MaxCatchUp ticks
	assert.Equal(r.t, omniq.ScheduleCounts{Runs: ticks, Missed: missed}, info.Counts)

	runs := make(map[int64]int)
	for task, err := range client.List(r.t.Context(), omniq.StatusSuccess, "") {
		require.NoError(r.t, err)
		at, err := tick.Attach(client, task.ID).Wait(r.t.Context())
		require.NoError(r.t, err)
		runs[at]++
		r.report.Results++
	}
	assert.Len(r.t, runs, ticks)
	last := int64(0)
	for at, n := range runs {
		assert.Equal(r.t, 1, n, "runs of the tick at %v", time.UnixMicro(at))
		last = max(last, at)
	}
	first := (info.Declared.UnixMicro()/tickDistance.Microseconds() + 1) * tickDistance.Microseconds()
	assert.Equal(r.t, ticks+missed, (last-first)/tickDistance.Microseconds()+1, "ticks from the first to the last run: each has a run or was missed")
}
