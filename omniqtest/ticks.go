package omniqtest

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
)

// Ticks returns the next n ticks of a schedule after a time, in that time's zone: for a table in a test, which shows what happens when
// the clock changes. It returns fewer if there are no more. A mistake in when fails the test.
func Ticks(t testing.TB, when omniq.When, after time.Time, n int) []time.Time {
	t.Helper()
	if err := when.Err(); err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	var ticks []time.Time
	for at := after; len(ticks) < n; {
		tick, ok := when.Next(at)
		if !ok {
			break
		}
		ticks, at = append(ticks, tick.In(after.Location())), tick
	}
	return ticks
}
