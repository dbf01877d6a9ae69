package cron_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// S1: schedulers lost the run of a daily time in spring, ran it twice in autumn, stopped an hourly one for an hour or a
// day, or returned a next time that was not later and went round in circles.
func TestS1BothChangesOfManyZones(t *testing.T) {
	for _, name := range []string{
		"Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Santiago", "America/Nuuk", "America/Havana",
		"Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Jerusalem", "Australia/Lord_Howe", "Australia/Sydney",
		"Pacific/Chatham", "Antarctica/Troll", "Atlantic/Azores",
	} {
		t.Run(name, func(t *testing.T) {
			zone := location(t, name)
			from := time.Date(2026, 1, 1, 0, 0, 0, 0, zone).Add(-time.Second)
			to := time.Date(2026, 12, 31, 23, 59, 59, 0, zone)
			changes := 0
			for at := from.Add(time.Hour); at.Before(to); at = at.Add(time.Hour) {
				_, before := at.Add(-time.Hour).Zone()
				if _, after := at.Zone(); before != after {
					changes++
				}
			}
			require.GreaterOrEqual(t, changes, 2, "the zone is here for its changes")

			for _, text := range []string{
				"0 0 * * *", "30 0 * * *", "0 1 * * *", "15 1 * * *", "59 1 * * *", "0 2 * * *", "15 2 * * *", "30 2 * * *", "59 2 * * *",
				"0 3 * * *", "30 3 * * *", "0 4 * * *", "0 12 * * *", "0 22 * * *", "0 23 * * *", "30 23 * * *", "59 23 * * *",
			} {
				runs, previous := 0, time.Time{}
				for tick := range parse(t, text).Ticks(from, to, zone) {
					if runs > 0 { // a change is up to two hours; a lost or a doubled run is a day
						require.InDelta(t, 24, tick.Sub(previous).Hours(), 2, "%s, from %s to %s", text, previous, tick)
					}
					runs, previous = runs+1, tick
				}
				require.Equal(t, 365, runs, text)
			}

			// A rhythm goes on: every 10 minutes is 10 minutes of real time, all year.
			previous := from.Add(time.Second)
			for tick := range parse(t, "*/10 * * * *").Ticks(previous, to, zone) {
				require.Equal(t, 10*time.Minute, tick.Sub(previous), "at %s", tick)
				previous = tick
			}
			assert.Less(t, to.Sub(previous), 10*time.Minute)
		})
	}
}

// S2: where the clock jumps over midnight or a day, a schedule of midnight skipped the day, looked for it without an end, or moved
// a weekly one to the next week.
func TestS2NoMidnight(t *testing.T) {
	for _, test := range []struct {
		text, zone string
		from, to   string
		want       []string
	}{
		{"0 0 * * *", "America/Sao_Paulo", "2017-10-14T00:00:00-03:00", "2017-10-16T12:00:00-02:00",
			[]string{"2017-10-15T01:00:00-02:00", "2017-10-16T00:00:00-02:00"}},
		{"0 0 * * SUN", "America/Sao_Paulo", "2017-10-14T00:00:00-03:00", "2017-10-22T12:00:00-02:00",
			[]string{"2017-10-15T01:00:00-02:00", "2017-10-22T00:00:00-02:00"}},
		{"30 0 15 10 *", "America/Sao_Paulo", "2017-10-14T00:00:00-03:00", "2018-10-16T12:00:00-02:00",
			[]string{"2017-10-15T01:00:00-02:00", "2018-10-15T00:30:00-03:00"}},
		{"0 1 * * 0", "America/Sao_Paulo", "2017-10-14T00:00:00-03:00", "2017-10-16T12:00:00-02:00",
			[]string{"2017-10-15T01:00:00-02:00"}},
		{"@daily", "Africa/Cairo", "2026-04-23T00:00:00+02:00", "2026-04-25T12:00:00+03:00",
			[]string{"2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"}},
		{"0 0 * * FRI", "Africa/Cairo", "2026-04-23T00:00:00+02:00", "2026-05-01T12:00:00+03:00",
			[]string{"2026-04-24T01:00:00+03:00", "2026-05-01T00:00:00+03:00"}},
		{"0 0 24 4 *", "Africa/Cairo", "2026-04-23T00:00:00+02:00", "2026-05-01T12:00:00+03:00",
			[]string{"2026-04-24T01:00:00+03:00"}},
		{"30 23 * * *", "Africa/Cairo", "2026-10-29T00:00:00+03:00", "2026-10-31T00:00:00+02:00", // and back: twice 23:30
			[]string{"2026-10-29T23:30:00+03:00", "2026-10-30T23:30:00+02:00"}},
		// Russia's Alaska became America's: the same day twice, and each of them is a day.
		{"0 18 * * *", "America/Juneau", "1867-10-18T00:00:00Z", "1867-10-20T12:00:00Z",
			[]string{"1867-10-18T18:00:00+15:02", "1867-10-18T18:00:00-08:57", "1867-10-19T18:00:00-08:57"}},
		{"0 0 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00",
			[]string{"2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"}},
	} {
		var got []string
		for tick := range parse(t, test.text).Ticks(utc(test.from), utc(test.to), location(t, test.zone)) {
			got = append(got, tick.Format(time.RFC3339))
		}
		assert.Equal(t, test.want, got, "%s in %s", test.text, test.zone)
	}
}

// S3: a weekly run moved by an hour when the clock did. By the calendar, it keeps the time of the clock.
func TestS3WeeklyKeepsItsTime(t *testing.T) {
	zone := location(t, "Europe/Berlin")
	var got []string
	for tick := range parse(t, "0 9 * * MON").Ticks(utc("2027-03-20T00:00:00Z"), utc("2027-04-06T00:00:00Z"), zone) {
		got = append(got, tick.Format(time.RFC3339))
	}
	assert.Equal(t, []string{"2027-03-22T09:00:00+01:00", "2027-03-29T09:00:00+02:00", "2027-04-05T09:00:00+02:00"}, got)
}

// S19: a backfill of a year of minutes filled the memory.
func TestS19YearOfMinutes(t *testing.T) {
	e, zone := parse(t, "* * * * *"), location(t, "Europe/Berlin")
	from, to := utc("2026-01-01T00:00:00Z"), utc("2027-01-01T00:00:00Z")
	count := 0
	allocations := testing.AllocsPerRun(1, func() {
		count = 0
		for range e.Ticks(from, to, zone) {
			count++
		}
	})
	assert.Equal(t, 365*24*60, count)
	assert.Less(t, allocations, 10.0)
}

// Where a zone goes on by rules, Go ends its stretches on 31 December of a leap year too early: the search went round in
// circles there, from 2040 on or, with other builds of the zones, from 2028 on.
func TestEndOfLeapYears(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Santiago"} {
		zone := location(t, name)
		for _, year := range []int{2040, 2044, 2096, 2400} {
			from := time.Date(year, 12, 30, 0, 0, 0, 0, zone).Add(-time.Second)
			to := time.Date(year+1, 1, 3, 0, 0, 0, 0, zone)
			ticks := slices.Collect(parse(t, "0 12 * * *").Ticks(from, to, zone))
			require.Len(t, ticks, 4, "%s %d", name, year)
			ticks = slices.Collect(parse(t, "0 * * * *").Ticks(from, to, zone))
			require.Len(t, ticks, 4*24+1, "%s %d", name, year)
		}
	}
}
