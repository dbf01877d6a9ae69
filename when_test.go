package omniq_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func TestWhen(t *testing.T) {
	from := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC) // a Monday
	at := func(texts ...string) (all []string) { return texts }
	tests := map[string]struct {
		when omniq.When
		text string
		want []string // the first ticks after from, all there are if fewer than four
	}{
		"cron":         {omniq.Cron("0 9 * * MON-FRI", "Europe/Berlin"), `cron "0 9 * * MON-FRI" in Europe/Berlin`, at("02T08:00:00", "03T08:00:00", "04T08:00:00", "05T08:00:00")},
		"utc":          {omniq.Cron("@daily", ""), `cron "@daily" in UTC`, at("02T00:00:00", "03T00:00:00", "04T00:00:00", "05T00:00:00")},
		"every":        {omniq.Every(5 * time.Hour), "every 5h0m0s", at("01T13:00:00", "01T18:00:00", "01T23:00:00", "02T04:00:00")},
		"phase":        {omniq.Every(5 * time.Hour).Phase(-30 * time.Minute), "every 5h0m0s from 4h30m0s", at("01T12:30:00", "01T17:30:00", "01T22:30:00", "02T03:30:00")},
		"phase of 0":   {omniq.Every(time.Hour).Phase(time.Hour), "every 1h0m0s", at("01T13:00:00", "01T14:00:00", "01T15:00:00", "01T16:00:00")},
		"at from":      {omniq.Every(6 * time.Hour), "every 6h0m0s", at("01T18:00:00", "02T00:00:00", "02T06:00:00", "02T12:00:00")},
		"once":         {omniq.Once(from.Add(2*time.Hour), from, from.Add(time.Hour), from.Add(time.Hour)), "once at 2027-03-01T12:00:00Z, 2027-03-01T13:00:00Z, 2027-03-01T14:00:00Z", at("01T13:00:00", "01T14:00:00")},
		"once, many":   {omniq.Once(from, from.Add(1), from.Add(time.Second), from.Add(2*time.Second), from.Add(3*time.Second)), "once at 2027-03-01T12:00:00Z, 2027-03-01T12:00:01Z, 2027-03-01T12:00:02Z and 1 more times", at("01T12:00:01", "01T12:00:02", "01T12:00:03")},
		"any":          {omniq.AnyOf(omniq.Every(12*time.Hour), omniq.Once(from.Add(time.Hour)), omniq.Every(24*time.Hour)), "every 12h0m0s, or once at 2027-03-01T13:00:00Z, or every 24h0m0s", at("01T13:00:00", "02T00:00:00", "02T12:00:00", "03T00:00:00")},
		"except":       {omniq.Every(12 * time.Hour).Except(omniq.Cron("* * 2 3 *", "")), `every 12h0m0s, except cron "* * 2 3 *" in UTC`, at("03T00:00:00", "03T12:00:00", "04T00:00:00", "04T12:00:00")},
		"except twice": {omniq.Every(12 * time.Hour).Except(omniq.Cron("* * 2 3 *", "")).Except(omniq.Once(from.Add(36 * time.Hour))), `every 12h0m0s, except cron "* * 2 3 *" in UTC, except once at 2027-03-03T00:00:00Z`, at("03T12:00:00", "04T00:00:00", "04T12:00:00", "05T00:00:00")},
		"to the second": {omniq.Every(12 * time.Hour).Phase(300 * time.Millisecond).Except(omniq.Cron("0 0 2 3 *", "")), `every 12h0m0s from 300ms, except cron "0 0 2 3 *" in UTC`,
			at("01T12:00:00.3", "02T12:00:00.3", "03T00:00:00.3", "03T12:00:00.3")},
		"between": {omniq.Every(12*time.Hour).Between(from.Add(12*time.Hour), from.Add(36*time.Hour)), "every 12h0m0s, from 2027-03-02T00:00:00Z, until 2027-03-03T00:00:00Z", at("02T00:00:00", "02T12:00:00")},
		"between, within": {omniq.Every(12*time.Hour).Between(from, time.Time{}).Between(time.Time{}, from.Add(13*time.Hour)).Between(from.Add(-time.Hour), from.Add(99*time.Hour)),
			"every 12h0m0s, from 2027-03-01T12:00:00Z, until 2027-03-02T01:00:00Z", at("02T00:00:00")},
		"nothing is left": {omniq.Every(time.Minute).Except(omniq.Every(time.Minute)).Between(from, from.Add(24*time.Hour)), "every 1m0s, except every 1m0s, from 2027-03-01T12:00:00Z, until 2027-03-02T12:00:00Z", nil},
		"of what is restricted": {omniq.AnyOf(omniq.Every(time.Hour).Between(from, from.Add(2*time.Hour)), omniq.Every(24*time.Hour)), "every 1h0m0s, from 2027-03-01T12:00:00Z, until 2027-03-01T14:00:00Z, or every 24h0m0s",
			at("01T13:00:00", "02T00:00:00", "03T00:00:00", "04T00:00:00")},
		"the last day": {omniq.Every(24*time.Hour).Between(time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC), time.Time{}), "every 24h0m0s, from 9998-12-31T00:00:00Z", at("31T00:00:00")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, tt.when.Err())
			assert.Equal(t, tt.text, tt.when.String())
			var got []string
			for tick, ok := tt.when.Next(from); ok && len(got) < 4; tick, ok = tt.when.Next(tick) {
				got = append(got, tick.Format("02T15:04:05.999999"))
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestWhenIsInvalid(t *testing.T) {
	from := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	var many []omniq.When
	for range 1001 {
		many = append(many, omniq.Every(time.Hour))
	}
	for want, when := range map[string]omniq.When{
		"has not made":                        {},
		"field 5 (day of week)":               omniq.Cron("* * * * 8", ""),
		"it never happens":                    omniq.Cron("0 0 30 2 *", ""),
		"the changes of the clock leave out":  omniq.Cron("*/20 2 * 3 0L", "Europe/Berlin"),
		`"Mars" is unknown on this machine`:   omniq.Cron("* * * * *", "Mars"),
		"Every is 0s, want at least 1ms":      omniq.Every(0),
		"Every is 1.0000001s":                 omniq.Every(time.Second + 100*time.Nanosecond),
		"Once without a time":                 omniq.Once(),
		"want 1 to 9999":                      omniq.Once(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		"AnyOf nothing":                       omniq.AnyOf(),
		"Every is -1s":                        omniq.AnyOf(omniq.Every(time.Hour), omniq.Every(-time.Second)),
		"Every is -2s":                        omniq.Every(time.Hour).Except(omniq.Every(-2 * time.Second)),
		"more than 1000 parts":                omniq.AnyOf(many...),
		"Phase is 1s of a schedule":           omniq.Once(from).Phase(time.Second),
		"want a time before a later one":      omniq.Every(time.Hour).Between(from, from),
		"Every is -3s, want at least 1ms, in": omniq.Every(-3*time.Second).Phase(1).Between(from, from).Except(omniq.When{}),
	} {
		require.ErrorIs(t, when.Err(), omniq.ErrInvalid, want)
		assert.ErrorContains(t, when.Err(), want)
		_, ok := when.Next(from)
		assert.False(t, ok)
		assert.Equal(t, "invalid", when.String())
	}
}

func TestOverlapRuleText(t *testing.T) {
	for want, rule := range map[string]omniq.OverlapRule{
		"skip": omniq.Skip, "allow": omniq.Allow, "cancel other": omniq.CancelOther, "buffer one": omniq.BufferOne,
		"buffer all up to 1": omniq.BufferAll(1), "buffer all up to 1000": omniq.BufferAll(1000),
	} {
		text, err := rule.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		var back omniq.OverlapRule
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, rule, back)
	}
	for _, bad := range []omniq.OverlapRule{-3, omniq.BufferAll(0), omniq.BufferAll(1001)} {
		_, err := bad.MarshalText()
		assert.ErrorIs(t, err, omniq.ErrInvalid)
		assert.Contains(t, bad.String(), "OverlapRule(")
	}
	for _, bad := range []string{"", "Skip", "buffer all up to 0", "buffer all up to 1001", "buffer all up to x"} {
		assert.ErrorIs(t, new(omniq.OverlapRule).UnmarshalText([]byte(bad)), omniq.ErrInvalid, bad)
	}
}
