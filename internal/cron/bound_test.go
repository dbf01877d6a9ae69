package cron

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// steps returns how many months and stretches one search looks at.
func steps(t testing.TB, text, zone string, after int64) (int, bool) {
	t.Helper()
	e, err := Parse(text)
	require.NoError(t, err)
	location, err := time.LoadLocation(zone)
	require.NoError(t, err)
	_, ok := e.Next(time.Unix(after, 0), location)
	return Steps(e, time.Unix(after, 0), location), ok
}

// The work is counted, not timed. What is written here is what the documentation of Next promises.
func TestBoundOfWork(t *testing.T) {
	day := func(text string) int64 {
		at, err := time.Parse(time.DateOnly, text)
		require.NoError(t, err)
		return at.Unix()
	}
	for _, test := range []struct {
		text, zone string
		after      int64
		most       int
		ticks      bool
	}{
		{"* * * * *", "UTC", day("2026-01-01"), 2, true},
		{"* * * * * *", "Europe/Berlin", day("2026-01-01"), 2, true},
		{"30 2 * * *", "Europe/Berlin", day("2026-07-01"), 2, true},
		{"30 2 * * *", "Europe/Berlin", day("2026-03-28"), 3, true},
		{"0 0 1 1 *", "Europe/Berlin", day("2026-01-02"), 6, true},
		{"59 59 23 31 12 *", "America/New_York", day("2026-01-01"), 6, true},
		{"0 0 29 2 *", "Europe/Berlin", day("2096-03-01"), 12, true},
		{"0 0 29 2 0#5", "Europe/Berlin", day("2096-03-01"), 12, true},
		{"0 0 * 2 0#5", "Europe/Berlin", day("2088-03-01"), 44, true}, // 40 years: 2100 is no leap year
		{"0 0 * 2 0#5", "Australia/Lord_Howe", day("2088-03-01"), 44, true},
		{"*/20 2 * 3 0L", "Europe/Berlin", day("2026-01-01"), 400*4 + 1, false},
		{"*/20 2 * 3,11 0#2,1#5", "America/New_York", day("2026-01-01"), 12, true},
		{"*/20 2 * 3 0#2", "America/New_York", day("2026-01-01"), 400*4 + 1, false},
		{"*/15 2 * 10 0#1", "Australia/Lord_Howe", day("2026-01-01"), 12, true}, // 02:30 and 02:45 are there
		{"0 0 29 2 *", "Europe/Berlin", math.MinInt64, 12, true},
		{"* * * * * *", "Europe/Berlin", math.MaxInt64, 0, false},
	} {
		count, ok := steps(t, test.text, test.zone, test.after)
		assert.LessOrEqual(t, count, test.most, "%s in %s", test.text, test.zone)
		assert.Equal(t, test.ticks, ok, "%s in %s", test.text, test.zone)
	}
}

// Every expression with a day that is rare ticks within 40 years, from any year of the calendar's whole cycle.
func TestRarestDays(t *testing.T) {
	longest := int64(0)
	for weekday := range 7 {
		e, err := Parse(fmt.Sprintf("0 0 * 2 %d#5", weekday))
		require.NoError(t, err)
		previous := int64(0)
		for tick := range e.Ticks(time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2441, 1, 1, 0, 0, 0, 0, time.UTC), nil) {
			require.Equal(t, 29, tick.Day())
			require.Equal(t, time.Weekday(weekday), tick.Weekday())
			if previous != 0 {
				longest = max(longest, int64(tick.Year())-previous)
			}
			previous = int64(tick.Year())
		}
		require.Greater(t, previous, int64(2400))
	}
	assert.EqualValues(t, 40, longest)
}

// The bits of a month agree with a walk through its days, for every length and every first weekday.
func TestWeekdaysOf(t *testing.T) {
	for first := range time.Weekday(7) {
		for length := 28; length <= 31; length++ {
			for bit := range lastWeek + 7 {
				var want uint32
				for date := 1; date <= length; date++ {
					weekday := (int(first) + date - 1) % 7
					if bit < lastWeek && weekday == bit%7 && (date-1)/7 == bit/7 || bit >= lastWeek && weekday == bit-lastWeek && date+7 > length {
						want |= 1 << date
					}
				}
				e := Expression{days: everyDay, weekdays: 1 << bit}
				require.Equal(t, want, e.daysOf(first, length), "bit %d, first %s, %d days", bit, first, length)
			}
		}
	}
}
