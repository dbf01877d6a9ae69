package cron_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/cron"
)

var seeds = []string{
	"* * * * *", "*/20 2 * * *", "30 2 * * *", "0 0 29 2 *", "0 0 * 2 MON#5", "59 59 23 31 12 *", "@daily", "@every 5m", "0 22-4/2 28-3 NOV-FEB FRI-MON",
	"0,*/30 1,5 L,15 jan,3 5L,MON#2,7", "6-5/59 1 * * *", "*/90 * * * *", "0 0 30 2 *", "0-0/1 0 ? * L", "1,1-3/2,59-0 * * * *", "* * * *", "* * * * 1,", "5/15 23/1 */30 */11 */6",
}

// What Parse accepts has a tick in every 40 years, and a text that parses to the same. What it refuses says which field,
// what is wrong and what would be right.
func FuzzParse(f *testing.F) {
	for _, text := range seeds {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := cron.Parse(text)
		if err != nil {
			var problem *cron.Error
			require.True(t, errors.As(err, &problem))
			assert.Contains(t, problem.Problem, "want ")
			assert.Contains(t, err.Error(), problem.Problem)
			assert.Equal(t, text, problem.Expression)
			assert.Less(t, len(err.Error()), 1000)
			if problem.Field > 0 {
				assert.Equal(t, problem.Text, strings.Fields(text)[problem.Field-1])
				assert.NotEmpty(t, problem.Name)
				assert.LessOrEqual(t, problem.Offset, len(text)) // it is the end if a value is missing there
			}
			return
		}
		again, err := cron.Parse(e.String())
		require.NoError(t, err)
		require.Equal(t, e, again, "%q", e.String())
		require.Equal(t, e.String(), again.String())

		from := time.Date(2088, 3, 1, 0, 0, 0, 0, time.UTC)
		tick, ok := e.Next(from, time.UTC)
		require.True(t, ok)
		require.True(t, tick.After(from))
		require.False(t, tick.After(from.AddDate(40, 0, 0)))
	})
}

// Next is strictly later, it leaves nothing out, and where it starts to look makes no difference.
func FuzzNext(f *testing.F) {
	for i, text := range seeds {
		f.Add(text, int64(1806195600+i*1_000_000), uint8(i), uint32(4000*i))
	}
	f.Fuzz(func(t *testing.T, text string, at int64, place uint8, later uint32) {
		e, err := cron.Parse(text)
		if err != nil {
			return
		}
		zone := location(t, windows[int(place)%len(windows)].zone)
		after := time.Unix(at, 0)
		tick, ok := e.Next(after, zone)
		require.Less(t, cron.Steps(e, after, zone), 10_000)
		if !ok {
			return
		}
		require.True(t, tick.After(after) || at < time.Time{}.Unix())
		if middle := after.Add(time.Duration(later) * time.Second); at > 0 && middle.Before(tick) {
			got, ok := e.Next(middle, zone)
			require.True(t, ok)
			require.True(t, tick.Equal(got), "%s after %s and %s: %s and %s", text, after.In(zone), middle.In(zone), tick, got)
		}
		if at > 0 {
			require.Equal(t, []time.Time{tick}, slices.Collect(e.Ticks(tick.Add(-time.Second), tick, zone)))
		}
	})
}
