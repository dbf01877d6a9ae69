package omniq_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// Whatever stands in the place of a schedule, those who look at it and the workers that serve it get an error at the most, and go on.
func FuzzSchedule(f *testing.F) {
	b := memory.New()
	client, err := omniq.NewClient(b)
	require.NoError(f, err)
	call := sendDigest.On(omniq.Join2(omniq.AtTick(), omniq.Value("x")))
	when := omniq.AnyOf(omniq.Cron("* * * * * *", "Europe/Berlin").Except(omniq.Every(time.Minute)), omniq.Once(time.Now().Add(time.Hour)))
	_, err = omniq.Schedule(f.Context(), client, "seed", when, call, omniq.Spread(time.Second), omniq.Overlap(omniq.BufferAll(3)))
	require.NoError(f, err)
	s := client.Schedule("seed")
	require.NoError(f, s.Backfill(f.Context(), time.Now().Add(-time.Minute), time.Now()))
	require.NoError(f, s.Reschedule(f.Context(), 0, omniq.Every(time.Second).Between(time.Time{}, time.Now().Add(time.Hour))))
	var id uuid.UUID
	for info, err := range client.List(f.Context(), omniq.StatusPending, omniq.ScheduleQueue) {
		require.NoError(f, err)
		id = info.ID
		f.Add([]byte(info.Task.Args))
	}
	f.Add([]byte(`[{}]`))
	f.Add([]byte(`[{"name":"seed","spec":{"when":{"any":[null]},"calls":[{}]}}]`))
	require.NoError(f, b.Close())

	f.Fuzz(func(t *testing.T, args []byte) {
		bubble.Test(t, func(t *testing.T) {
			b := memory.New()
			defer func() { require.NoError(t, b.Close()) }()
			client, err := omniq.NewClient(b)
			require.NoError(t, err)
			task := &omniq.RawTask{
				ID: id, FuncName: "omniq.schedule", Args: args, Kwargs: omniq.Raw("{}"), CreatedAt: time.Now().UTC(), Queue: omniq.ScheduleQueue,
			}
			if _, err := b.Enqueue(t.Context(), []*omniq.RawTask{task}); err != nil {
				return // it is no task
			}
			s := client.Schedule("seed")
			look := func() {
				if info, err := s.Describe(t.Context()); err == nil {
					_, _ = info.Next(2), info.When.String()
				}
			}
			look()
			var calls atomic.Int64
			few := &meddler{Backend: b, lease: func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
				if calls.Add(1) > 20 { // it may have work without an end
					return nil, omniq.ErrClosed
				}
				return b.Lease(ctx, r)
			}}
			w, err := omniq.NewWorker(few, omniq.Handlers(sendDigest), omniq.Logger(slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
			defer stop()
			if err := w.Run(ctx); err != nil {
				require.ErrorIs(t, err, omniq.ErrClosed)
			}
			look()
		})
	})
}
