package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

func TestAfter(t *testing.T) {
	const last, gone = 9, 3
	tests := []struct {
		cursor omniq.Cursor
		want   int64
		err    error
	}{
		{omniq.CursorOldest, gone, nil},
		{omniq.CursorLatest, last, nil},
		{engine.Cursor(gone), gone, nil},
		{engine.Cursor(last), last, nil},
		{engine.Cursor(gone - 1), 0, omniq.ErrEventsGone},
		{engine.Cursor(last + 1), 0, omniq.ErrInvalid},
		{engine.Cursor(-1), 0, omniq.ErrInvalid},
		{"x", 0, omniq.ErrInvalid},
		{"99999999999999999999", 0, omniq.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(string(tt.cursor), func(t *testing.T) {
			got, err := engine.After(tt.cursor, last, gone)
			assert.ErrorIs(t, err, tt.err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestContextError(t *testing.T) {
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	err := engine.ContextError(ctx, "x")
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, cause)
	plain, stop := context.WithCancel(t.Context())
	stop()
	assert.EqualError(t, engine.ContextError(plain, "x"), "x: context canceled")
}

// Each status has a number of its own.
func TestCount(t *testing.T) {
	var s omniq.QueueStats
	for i, status := range omniq.Statuses() {
		engine.Count(&s, status, i+1)
	}
	assert.Equal(t, omniq.QueueStats{Ready: 1, Running: 2, Succeeded: 3, Failed: 4, Cancelled: 5, Expired: 6, Waiting: 7}, s)
	var f omniq.FlowStats
	for i, status := range omniq.Statuses() {
		engine.CountMember(&f, status, i+1)
	}
	assert.Equal(t, omniq.FlowStats{Pending: 1, Running: 2, Succeeded: 3, Failed: 4, Cancelled: 5, Expired: 6, Waiting: 7}, f)
}

// All who wait for a task hear of its end, once; those who wait afterwards wait for the next one.
func TestAwaited(t *testing.T) {
	var a engine.Awaited
	id, other := uuid.New(), uuid.New()
	first, second := a.Begin(id), a.Begin(id)
	closed, left := a.Begin(other), a.Begin(uuid.New())
	assert.Same(t, first, second)
	a.Look(closed)
	ids, all := a.Looked()
	assert.Equal(t, []uuid.UUID{other}, ids)
	assert.False(t, all)

	r := &omniq.RawResult{TaskID: id}
	a.End(id, r, nil)
	<-first.Done
	assert.Same(t, r, first.Result)
	a.End(id, nil, omniq.ErrNotFound) // nobody waits
	assert.NoError(t, first.Err)
	again := a.Begin(id)
	a.Leave(id, first)
	a.Leave(id, second)
	assert.NotSame(t, first, again)
	a.Close()
	for _, w := range []*engine.Waiting{closed, left, again} {
		<-w.Done
		assert.ErrorIs(t, w.Err, omniq.ErrClosed)
	}
	assert.False(t, a.Any())
	a.Leave(other, closed)
}

// What a settlement does besides is checked whatever its action is.
func TestCheckOutcomeChecksEffects(t *testing.T) {
	id := uuid.New()
	result, err := omniq.NewSuccess(id, omniq.Raw("1"))
	require.NoError(t, err)
	bad := &omniq.Effects{Enqueue: []*omniq.RawTask{{ID: uuid.New()}}}
	for name, s := range map[string]omniq.Settlement{
		"finish":  {Action: omniq.ActionFinish, Result: &result, Effects: bad},
		"retry":   {Action: omniq.ActionRetry, Effects: bad},
		"release": {Action: omniq.ActionRelease, Effects: &omniq.Effects{Notes: omniq.Notes{State: omniq.Raw("1")}}},
		"wait":    {Action: omniq.ActionWait, Effects: bad},
	} {
		t.Run(name, func(t *testing.T) {
			s.LeaseID.TaskID = id
			assert.ErrorIs(t, engine.CheckOutcome(&s), omniq.ErrInvalid)
			s.Effects = nil
			assert.NoError(t, engine.CheckOutcome(&s))
		})
	}
}
