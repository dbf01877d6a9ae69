package omniqtest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
	"github.com/omniq-go/omniq/omniqtest"
)

func ExampleTicks() {
	berlin, _ := time.LoadLocation("Europe/Berlin")
	nightly := omniq.Cron("30 2 * * *", "Europe/Berlin")
	t := new(testing.T) // a test's
	for _, change := range []time.Time{time.Date(2027, 3, 27, 0, 0, 0, 0, berlin), time.Date(2027, 10, 30, 0, 0, 0, 0, berlin)} {
		for _, tick := range omniqtest.Ticks(t, nightly, change, 3) {
			fmt.Println(tick.Format("2 January 15:04 MST"))
		}
	}
	// Output:
	// 27 March 02:30 CET
	// 28 March 03:00 CEST
	// 29 March 02:30 CEST
	// 30 October 02:30 CEST
	// 31 October 02:30 CEST
	// 1 November 02:30 CET
}

func TestTicks(t *testing.T) {
	from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	assert.Equal(t, []time.Time{from.Add(time.Hour)}, omniqtest.Ticks(t, omniq.Once(from, from.Add(time.Hour)), from, 5))
	assert.Empty(t, omniqtest.Ticks(t, omniq.Every(time.Hour), from, 0))
	fails(t, func(t *testing.T) { omniqtest.Ticks(t, omniq.Cron("x", ""), from, 1) }, "want 5 fields")
}

// Drain starts runs of the ticks that have come, and does not wait for those that have not.
func TestDrainServesSchedules(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := omniqtest.New(t)
		var ticks []time.Time
		report := omniq.DefineArgsVoid("report", func(_ context.Context, tick omniq.Tick) error {
			ticks = append(ticks, tick.Time)
			return nil
		}, omniq.Queue("reports"))
		_, err := omniq.Schedule(t.Context(), q.Client, "hourly", omniq.Every(time.Hour), report.On(omniq.AtTick()))
		require.NoError(t, err)
		began := time.Now()
		q.Drain(omniq.Handlers(report))
		assert.Empty(t, ticks)
		assert.Less(t, time.Since(began), time.Minute)
		for n := range 3 {
			time.Sleep(time.Hour)
			q.Drain(omniq.Handlers(report))
			assert.Len(t, ticks, n+1)
		}
	})
}
