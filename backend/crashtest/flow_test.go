package crashtest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// Flows come to the ends that are expected of them, also when leases are lost.
func TestFlowsEnd(t *testing.T) {
	t.Setenv(leaseVariable, "2s")
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		defer func() { require.NoError(t, b.Close()) }()
		var all []shape
		for range 20 {
			s := shapeOf(uuid.New())
			_, err := b.Enqueue(t.Context(), s.tasks())
			require.NoError(t, err)
			all = append(all, s)
		}
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 10, Duration: time.Second})
		require.NoError(t, err)
		require.Len(t, leases, 10, "which nobody works")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- workFlows(ctx, b) }()
		for _, s := range all {
			_, err := b.Await(t.Context(), s.id(next, 0))
			require.NoError(t, err)
			r, err := b.Await(t.Context(), s.id(audit, 0))
			require.NoError(t, err)
			assert.Equal(t, strconv.Itoa(s.end()), string(r.ResultData))
			stats, err := b.FlowStats(t.Context(), s.flow)
			require.NoError(t, err)
			assert.Equal(t, omniq.FlowStats{Succeeded: s.members()}, stats)
		}
		stop()
		require.NoError(t, <-done)
	})
}

// A worker does not go on with inputs that are not what its task has waited for.
func TestWrongInputsAreFound(t *testing.T) {
	s := shapeOf(uuid.New())
	good := func(n int) []*omniq.RawResult {
		all := make([]*omniq.RawResult, n)
		for i := range all {
			all[i] = &omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw("1")}
		}
		return all
	}
	for name, inputs := range map[string][]*omniq.RawResult{
		"too few":      good(s.leaves - 1),
		"too many":     good(s.leaves + 1),
		"a missing":    append(good(s.leaves-1), nil),
		"a failure":    append(good(s.leaves-1), &omniq.RawResult{Status: omniq.StatusFailure}),
		"no number":    append(good(s.leaves-1), &omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw("x")}),
		"right inputs": good(s.leaves),
	} {
		l := omniq.Lease{Task: s.task(sum, 0), Inputs: inputs}
		assert.Equal(t, name == "right inputs", finishFlow(l, new(omniq.Settlement)) == nil, name)
	}
}

func TestInsist(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for want, failures := range map[error]int{nil: 3, errors.ErrUnsupported: 1000} {
			calls := 0
			err := insist(func() error {
				if calls++; calls <= failures {
					return errors.ErrUnsupported
				}
				return nil
			})
			assert.ErrorIs(t, err, want)
		}
	})
}
