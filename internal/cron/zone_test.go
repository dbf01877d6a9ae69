package cron_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wildZone makes a zone whose clock changes all the time, by up to six hours, and returns the times of its changes.
func wildZone(t *testing.T, random *rand.Rand, start, end int64) *time.Location {
	t.Helper()
	const kinds = 25 // offsets of -3 to 3 hours by quarters
	var times, indexes, types []byte
	count := uint32(0)
	for at := start; at < end; at += 300 * (1 + random.Int64N(1<<random.IntN(10))) {
		times = binary.BigEndian.AppendUint32(times, uint32(at))
		indexes = append(indexes, byte(random.IntN(kinds)))
		count++
	}
	for kind := range kinds {
		types = binary.BigEndian.AppendUint32(types, uint32(int32(kind-kinds/2)*900))
		types = append(types, 0, 0)
	}
	file := append([]byte("TZif"), make([]byte, 16)...)
	for _, number := range []uint32{0, 0, 0, count, kinds, 4} {
		file = binary.BigEndian.AppendUint32(file, number)
	}
	file = append(append(append(append(file, times...), indexes...), types...), "WLD\x00"...)
	zone, err := time.LoadLocationFromTZData("Wild", file)
	require.NoError(t, err)
	return zone
}

// No real zone changes its clock again before the effect of the last change is over. The rule has an answer for that, too.
func TestWildZones(t *testing.T) {
	random := rand.New(rand.NewPCG(*seed, 1))
	for range *rounds {
		start := utc("2027-02-27T00:00:00Z").Unix() + random.Int64N(1000)*86400
		end := start + 6*86400
		zone := wildZone(t, random, start, end)
		shown := clocks(zone, start-86400, end, 60)
		for range 20 {
			r := randomReference(random, 60, shown[random.IntN(len(shown))])
			e := parse(t, r.text)
			want := r.ticks(shown, shown[0].clock-60, start-86400)
			require.Equal(t, want, unix(e, time.Unix(start-86400, 0), time.Unix(end, 0), zone), "%s, seed %d", r.text, *seed)

			after := start + random.Int64N(end-start)
			next, ok := e.Next(time.Unix(after, 0), zone)
			for _, tick := range want {
				if tick > after {
					require.True(t, ok)
					require.Equal(t, tick, next.Unix(), "%s after %d, seed %d", r.text, after, *seed)
					break
				}
			}
		}
	}
}

// A zone that has nothing but rules, as TZ=CET-1CEST,M3.5.0,M10.5.0/3 would be, has them for the time before 1970 as well.
// There, Go begins stretches after the time that lies in them.
func TestZoneOfRules(t *testing.T) {
	header := func(count uint32) []byte {
		b := append([]byte("TZif2"), make([]byte, 15)...)
		for _, number := range []uint32{0, 0, 0, 0, count, 4 * count} {
			b = binary.BigEndian.AppendUint32(b, number)
		}
		return b
	}
	kind := append(binary.BigEndian.AppendUint32(nil, 3600), "\x00\x00CET\x00"...)
	file := append(append(header(1), kind...), append(header(1), kind...)...)
	zone, err := time.LoadLocationFromTZData("Rules", append(file, "\nCET-1CEST,M3.5.0,M10.5.0/3\n"...))
	require.NoError(t, err)
	_, offset := utc("2026-07-01T00:00:00Z").In(zone).Zone()
	require.Equal(t, 7200, offset, "the zone has no rules")

	for year := 1960; year < 1980; year++ {
		from := time.Date(year-1, 12, 28, 0, 0, 0, 0, zone)
		for _, text := range []string{"0 12 * * *", "30 0 * * *"} {
			var days []int
			for tick := range parse(t, text).Ticks(from, from.AddDate(0, 0, 8).Add(-time.Second), zone) {
				days = append(days, tick.Day())
			}
			require.Len(t, days, 8, "%s in %d: %v", text, year, days)
		}
	}
}
