package memory

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// Whatever way tasks, results and those who wait go, nothing of them is kept.
func TestNothingIsLeft(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		ctx := t.Context()
		life, none := time.Minute, time.Duration(0)
		var tasks []*omniq.RawTask
		for i := range 100 {
			task := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), Priority: i % 3, ResultTTL: &none, FailureTTL: &none}
			switch i % 5 {
			case 0:
				task.RunAt = time.Now().Add(time.Second)
			case 1:
				task.TTL = &life
			case 2:
				task.TTL, task.ResultTTL, task.FailureTTL = &life, &life, &life
			}
			tasks = append(tasks, task)
		}
		_, err := b.Enqueue(ctx, tasks)
		require.NoError(t, err)
		time.Sleep(time.Minute) // 40 expire, half of them with a result that goes in a minute
		synctest.Wait()
		b.mu.Lock()
		assert.Equal(t, 80, len(b.tasks))
		b.mu.Unlock()
		for round := 0; ; round++ {
			leases, err := b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{"none", "default"}, Max: 7, Duration: time.Second, Wait: 2 * time.Minute,
			})
			require.NoError(t, err)
			if len(leases) == 0 {
				break
			}
			for i, l := range leases {
				s := omniq.Settlement{LeaseID: l.LeaseID}
				switch (i + round) % 4 {
				case 0:
					s.Action = omniq.ActionRelease
				case 1:
					s.Action, s.Delay = omniq.ActionRetry, time.Millisecond
				case 2:
					continue // the lease runs out
				case 3:
					s.Action = omniq.ActionFinish
					s.Result = &omniq.RawResult{TaskID: l.TaskID, Status: omniq.StatusSuccess, TTL: &none}
				}
				errs, err := b.Settle(ctx, []omniq.Settlement{s})
				require.NoError(t, err)
				require.Nil(t, errs)
			}
		}
		ended, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = b.Lease(ended, omniq.LeaseRequest{Queues: []string{"a", "b", "a"}, Max: 1, Duration: time.Second, Wait: time.Hour})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute)
		synctest.Wait()

		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Empty(t, b.tasks)
		assert.Empty(t, b.queues)
		assert.Empty(t, b.coming)
		assert.Empty(t, b.going)
	})
}
