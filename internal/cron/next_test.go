package cron_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/cron"
)

func TestNextIsStrictlyAfter(t *testing.T) {
	noon := utc("2026-05-05T12:00:00Z")
	e := parse(t, "0 12 * * *")
	for _, test := range []struct {
		after time.Time
		want  time.Time
	}{
		{noon.Add(-time.Nanosecond), noon},
		{noon, noon.AddDate(0, 0, 1)},
		{noon.Add(time.Nanosecond), noon.AddDate(0, 0, 1)},
		{noon.Add(-24 * time.Hour), noon},
	} {
		got, ok := e.Next(test.after, nil)
		require.True(t, ok)
		assert.Equal(t, test.want, got)
	}
}

func TestNextIsInTheZone(t *testing.T) {
	zone := location(t, "Europe/Berlin")
	got, ok := parse(t, "0 12 * * *").Next(utc("2026-05-05T12:00:00Z"), zone)
	require.True(t, ok)
	assert.Equal(t, zone, got.Location())
	assert.Equal(t, "2026-05-06T12:00:00+02:00", got.Format(time.RFC3339))
}

func TestNextEnds(t *testing.T) {
	berlin := location(t, "Europe/Berlin")
	for _, test := range []struct {
		name, text string
		after      time.Time
		zone       *time.Location
		want       string // empty: none
	}{
		{"the zero time", "@daily", time.Time{}, nil, "0001-01-02T00:00:00Z"},
		{"before the year 1", "@daily", time.Unix(math.MinInt64/2, 0), nil, "0001-01-02T00:00:00Z"},
		{"the last year", "@yearly", utc("9997-06-01T00:00:00Z"), nil, "9998-01-01T00:00:00Z"},
		{"after the last tick", "@yearly", utc("9998-01-01T00:00:00Z"), nil, ""},
		{"the last second", "* * * * * *", utc("9998-12-31T23:59:58Z"), nil, "9998-12-31T23:59:59Z"},
		{"after the last second", "* * * * * *", utc("9998-12-31T23:59:59Z"), nil, ""},
		{"the last second of a clock ahead", "* * * * * *", utc("9998-12-31T22:59:59Z"), berlin, ""},
		{"far after it", "* * * * * *", time.Unix(math.MaxInt64/2, 0), berlin, ""},
		{"times that a gap swallows every year", "*/20 2 * 3 0L", utc("2026-01-01T00:00:00Z"), berlin, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parse(t, test.text).Next(test.after, test.zone)
			require.Equal(t, test.want != "", ok)
			if ok {
				assert.Equal(t, test.want, got.UTC().Format(time.RFC3339))
			} else {
				assert.Zero(t, got)
			}
		})
	}
	got, ok := cron.Expression{}.Next(utc("2026-01-01T00:00:00Z"), nil)
	assert.False(t, ok)
	assert.Zero(t, got)
}

func TestTicksStop(t *testing.T) {
	var got []time.Time
	for tick := range parse(t, "@hourly").Ticks(utc("2026-01-01T00:00:00Z"), utc("2027-01-01T00:00:00Z"), nil) {
		if got = append(got, tick); len(got) == 2 {
			break
		}
	}
	assert.Equal(t, []time.Time{utc("2026-01-01T01:00:00Z"), utc("2026-01-01T02:00:00Z")}, got)
}

var speeds = []struct{ name, text, zone, after string }{
	{"minute", "* * * * *", "UTC", "2026-07-01T12:00:00Z"},
	{"second", "* * * * * *", "Europe/Berlin", "2026-07-01T12:00:00Z"},
	{"daily", "30 2 * * *", "Europe/Berlin", "2026-07-01T12:00:00Z"},
	{"gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"},
	{"overlap", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"},
	{"weekday", "0 9 * * MON-FRI", "America/New_York", "2026-07-03T18:00:00Z"},
	{"by rule", "30 2 * * *", "Europe/Berlin", "2150-07-01T12:00:00Z"},
	{"either day", "0 0 13 * FRI", "Europe/Berlin", "2026-07-01T12:00:00Z"},
	{"end of the year", "59 59 23 31 12 *", "Europe/Berlin", "2026-01-01T00:00:00Z"},
	{"leap day", "0 0 29 2 *", "Europe/Berlin", "2096-03-01T00:00:00Z"},
	{"fifth Sunday in February", "0 0 * 2 0#5", "Europe/Berlin", "2088-03-01T00:00:00Z"},
	{"never in this zone", "*/20 2 * 3 0L", "Europe/Berlin", "2026-01-01T00:00:00Z"},
}

func TestNextDoesNotAllocate(t *testing.T) {
	for _, speed := range speeds {
		e, zone, after := parse(t, speed.text), location(t, speed.zone), utc(speed.after)
		assert.Zero(t, testing.AllocsPerRun(10, func() { e.Next(after, zone) }), speed.name)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, speed := range speeds {
		b.Run(speed.name, func(b *testing.B) {
			e, zone, after := parse(b, speed.text), location(b, speed.zone), utc(speed.after)
			b.ReportAllocs()
			for b.Loop() {
				e.Next(after, zone)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := cron.Parse("*/20 8-17 * MAR-OCT MON-FRI")
		require.NoError(b, err)
	}
}
