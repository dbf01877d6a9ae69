package omniq_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func TestStatusText(t *testing.T) {
	want := []string{"PENDING", "RUNNING", "SUCCESS", "FAILURE", "CANCELLED", "EXPIRED", "WAITING"}
	require.Len(t, omniq.Statuses(), len(want))
	for i, s := range omniq.Statuses() {
		assert.Equal(t, want[i], s.String())
		text, err := s.MarshalText()
		require.NoError(t, err)
		var again omniq.Status
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, s, again)
		b, err := json.Marshal(map[omniq.Status]omniq.Status{s: s})
		require.NoError(t, err)
		assert.JSONEq(t, `{"`+want[i]+`":"`+want[i]+`"}`, string(b))
	}
}

func TestEventTypeText(t *testing.T) {
	want := []string{"ENQUEUED", "STARTED", "COMPLETED", "FAILED", "RETRIED", "CANCELLED", "EXPIRED", "MISSED", "SKIPPED", "DROPPED"}
	require.Len(t, omniq.EventTypes(), len(want))
	for i, e := range omniq.EventTypes() {
		assert.Equal(t, want[i], e.String())
		text, err := e.MarshalText()
		require.NoError(t, err)
		var again omniq.EventType
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, e, again)
	}
}

func TestEnumerationsRefuseWhatIsNone(t *testing.T) {
	for _, n := range []uint8{0, 8, 255} {
		_, err := omniq.Status(n).MarshalText()
		assert.ErrorContains(t, err, "is no status")
		assert.Contains(t, omniq.Status(n).String(), "Status(")
		assert.False(t, omniq.Status(n).Final())
	}
	_, err := omniq.EventType(11).MarshalText()
	assert.ErrorContains(t, err, "is no event type")
	assert.Equal(t, "EventType(11)", omniq.EventType(11).String())
	for _, text := range []string{"", "pending", "PENDING ", "DONE", "Status(1)"} {
		var s omniq.Status
		err := s.UnmarshalText([]byte(text))
		assert.ErrorContains(t, err, "want one of [PENDING RUNNING SUCCESS FAILURE CANCELLED EXPIRED WAITING]")
		assert.Zero(t, s)
		var e omniq.EventType
		assert.ErrorContains(t, e.UnmarshalText([]byte(text)), "is no event type")
	}
}

// The whole table: a row for what a task is, a column for what it may become.
func TestTransitions(t *testing.T) {
	table := map[omniq.Status][7]bool{
		//                     PENDING RUNNING SUCCESS FAILURE CANCELLED EXPIRED WAITING
		omniq.StatusPending:   {false, true, false, false, true, true, false},
		omniq.StatusRunning:   {true, false, true, true, true, true, true},
		omniq.StatusWaiting:   {true, false, true, true, true, true, false},
		omniq.StatusSuccess:   {},
		omniq.StatusFailure:   {},
		omniq.StatusCancelled: {},
		omniq.StatusExpired:   {},
	}
	require.Len(t, table, len(omniq.Statuses()))
	for _, s := range omniq.Statuses() {
		for i, next := range omniq.Statuses() {
			assert.Equal(t, table[s][i], s.CanBecome(next), "%v to %v", s, next)
		}
		assert.Equal(t, table[s] == [7]bool{}, s.Final(), s)
		assert.False(t, s.CanBecome(0))
		assert.False(t, omniq.Status(0).CanBecome(s))
	}
}
