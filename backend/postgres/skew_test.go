package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// A database whose clock is not the program's counts each duration by its own.
func TestSkew(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			b := open(t, place(t), postgres.WithSkew(skew))
			about := func(want time.Duration, at time.Time) {
				t.Helper()
				assert.WithinDuration(t, time.Now().Add(skew+want), at, time.Minute)
			}
			limited, delayed := newTask(t, omniq.TTL(2*time.Minute)), newTask(t, omniq.Delay(time.Hour))
			enqueue(t, b, limited, delayed)
			info, err := b.Inspect(t.Context(), delayed.ID)
			require.NoError(t, err)
			about(time.Hour, info.Due)
			require.Zero(t, info.Task.RunAt)
			l := lease(t, b)
			require.Equal(t, limited.ID, l.TaskID, "its TTL is not over")
			about(anyTask.Duration, l.Expires)
			errs, err := b.Settle(t.Context(), []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: time.Minute}})
			require.NoError(t, err)
			require.Nil(t, errs)
			info, err = b.Inspect(t.Context(), limited.ID)
			require.NoError(t, err)
			about(time.Minute, info.Due)

			failed := newTask(t, omniq.TTL(2*time.Minute))
			enqueue(t, b, failed)
			s := success(lease(t, b))
			s.Result.Status, s.Result.ResultData = omniq.StatusFailure, nil
			errs, err = b.Settle(t.Context(), []omniq.Settlement{s})
			require.NoError(t, err)
			require.Nil(t, errs)
			errs, err = b.Requeue(t.Context(), ids(failed), false)
			require.NoError(t, err)
			require.Nil(t, errs)
			require.Equal(t, failed.ID, lease(t, b).TaskID, "it has its whole TTL again")
		})
	}
}
