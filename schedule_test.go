package omniq_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

func TestScheduleDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		c, err := omniq.NewClient(b)
		require.NoError(t, err)
		var ticks []omniq.Tick
		report := omniq.DefineArgs("report", func(_ context.Context, tick omniq.Tick) (int, error) {
			ticks = append(ticks, tick)
			return len(ticks), nil
		})
		w, err := omniq.NewWorker(b, omniq.Handlers(report), omniq.Logger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		s, err := omniq.Schedule(t.Context(), c, "nightly", omniq.Cron("30 2 * * *", "Europe/Berlin"), report.On(omniq.AtTick()))
		require.NoError(t, err)
		time.Sleep(3 * 24 * time.Hour)
		info, err := s.Describe(t.Context())
		require.NoError(t, err)
		t.Logf("%+v", info)
		for _, tick := range ticks {
			t.Logf("%+v", tick)
		}
		h, err := s.Trigger(t.Context())
		require.NoError(t, err)
		r, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 4, r)
		stop()
		require.NoError(t, <-done)
		b.Close()
	})
}
