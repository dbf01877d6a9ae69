package cron_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/cron"
)

var (
	rounds = flag.Int("cron.rounds", 15, "random expressions for each change of a clock")
	seed   = flag.Uint64("cron.seed", 1, "seed of the random expressions")
)

// The reference knows nothing of bits, stretches and canonical forms: an expression is a function for each field, and
// every minute (or second) of real time is looked at. It is slow and says the rule once more.
type reference struct {
	text   string
	step   int64 // seconds between the times to look at
	second func(int) bool
	minute func(int) bool
	hour   func(int) bool
	month  func(int) bool
	date   func(civil) bool
	rhythm bool
}

// civil is what a calendar on the wall says.
type civil struct {
	clock                             int64 // seconds of the clock since 1970
	month, date, hour, minute, second int
	weekday, length                   int
}

func civilOf(clock int64) civil {
	t := time.Unix(clock, 0).UTC()
	return civil{
		clock: clock, month: int(t.Month()), date: t.Day(), hour: t.Hour(), minute: t.Minute(), second: t.Second(),
		weekday: int(t.Weekday()), length: time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day(),
	}
}

func (r *reference) matches(c civil) bool {
	return r.second(c.second) && r.minute(c.minute) && r.hour(c.hour) && r.month(c.month) && r.date(c)
}

// window is a stretch of real time around a change of a clock, with what the clock shows at each step of it.
type window struct {
	name, zone string
	change     time.Time
	shift      time.Duration // of the clock
}

// The changes that went wrong in schedulers: of an hour, of half an hour, of two and of three, at midnight, of a day, with
// a negative summer time, and one that the zone's file does not list, but has a rule for.
var windows = []window{
	{"spring", "Europe/Berlin", utc("2027-03-28T01:00:00Z"), time.Hour},
	{"autumn", "Europe/Berlin", utc("2027-10-31T01:00:00Z"), -time.Hour},
	{"spring", "America/New_York", utc("2026-03-08T07:00:00Z"), time.Hour},
	{"autumn", "America/New_York", utc("2026-11-01T06:00:00Z"), -time.Hour},
	{"half an hour forward", "Australia/Lord_Howe", utc("2027-10-02T15:30:00Z"), 30 * time.Minute},
	{"half an hour back", "Australia/Lord_Howe", utc("2027-04-03T15:00:00Z"), -30 * time.Minute},
	{"two hours forward", "Antarctica/Troll", utc("2026-03-29T01:00:00Z"), 2 * time.Hour},
	{"two hours back", "Antarctica/Troll", utc("2026-10-25T01:00:00Z"), -2 * time.Hour},
	{"three hours forward", "Antarctica/Casey", utc("2018-10-06T20:00:00Z"), 3 * time.Hour},
	{"three hours back", "Antarctica/Casey", utc("2019-03-16T16:00:00Z"), -3 * time.Hour},
	{"no midnight", "America/Sao_Paulo", utc("2017-10-15T03:00:00Z"), time.Hour},
	{"two midnights nearly", "America/Sao_Paulo", utc("2018-02-18T02:00:00Z"), -time.Hour},
	{"no midnight", "Africa/Cairo", utc("2026-04-23T22:00:00Z"), time.Hour},
	{"back at midnight", "Africa/Cairo", utc("2026-10-29T21:00:00Z"), -time.Hour},
	{"no midnight", "America/Santiago", utc("2026-09-06T04:00:00Z"), time.Hour},
	{"back at midnight", "America/Santiago", utc("2026-04-05T03:00:00Z"), -time.Hour},
	{"no midnight", "Asia/Beirut", utc("2026-03-28T22:00:00Z"), time.Hour},
	{"back at midnight", "Asia/Beirut", utc("2026-10-24T21:00:00Z"), -time.Hour},
	{"back for Ramadan", "Africa/Casablanca", utc("2026-02-15T02:00:00Z"), -time.Hour},
	{"forward after Ramadan", "Africa/Casablanca", utc("2026-03-22T02:00:00Z"), time.Hour},
	{"negative summer time begins", "Europe/Dublin", utc("2026-10-25T01:00:00Z"), -time.Hour},
	{"negative summer time ends", "Europe/Dublin", utc("2026-03-29T01:00:00Z"), time.Hour},
	{"before midnight", "America/Nuuk", utc("2024-03-31T01:00:00Z"), time.Hour},
	{"before midnight, back", "America/Nuuk", utc("2024-10-27T01:00:00Z"), -time.Hour},
	{"a day that never was", "Pacific/Apia", utc("2011-12-30T10:00:00Z"), 24 * time.Hour},
	{"a day that never was", "Pacific/Kwajalein", utc("1993-08-21T12:00:00Z"), 24 * time.Hour},
	{"nearly a day twice", "Pacific/Kwajalein", utc("1969-09-30T13:00:00Z"), -23 * time.Hour},
	{"no change", "Asia/Kolkata", utc("2026-04-24T00:00:00Z"), 0},
	{"by rule", "Europe/Berlin", utc("2140-03-27T01:00:00Z"), time.Hour},
	{"by rule, south", "Australia/Sydney", utc("2144-10-03T16:00:00Z"), time.Hour},
	{"end of a leap year by rule", "Europe/Berlin", utc("2040-12-31T12:00:00Z"), 0},
}

func utc(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// clocks returns what the zone's clock shows at every step of real time after from and up to to.
func clocks(zone *time.Location, from, to, step int64) []civil {
	var shown []civil
	for at := from + step; at <= to; at += step {
		_, offset := time.Unix(at, 0).In(zone).Zone()
		shown = append(shown, civilOf(at+int64(offset)))
	}
	return shown
}

// ticks walks through real time as the rule says: a rhythm ticks whenever the clock shows one of its times. A fixed time
// ticks when the clock reaches it for the first time or jumps over it, unless whole days are left out or repeated.
func (r *reference) ticks(shown []civil, before, from int64) []int64 {
	var ticks []int64
	reached := before // the furthest that the clock has been
	previous := before
	for i, c := range shown {
		tick := false
		switch jump := c.clock - previous - r.step; {
		case r.rhythm:
			tick = r.matches(c)
		case jump >= 86400 || jump <= -86400:
			reached = c.clock
			tick = r.matches(c)
		default:
			for ; reached < c.clock; reached += r.step {
				tick = tick || r.matches(civilOf(reached+r.step))
			}
		}
		if tick {
			ticks = append(ticks, from+int64(i+1)*r.step)
		}
		previous = c.clock
	}
	return ticks
}

func TestAgainstReference(t *testing.T) {
	random := rand.New(rand.NewPCG(*seed, 0))
	for _, w := range windows {
		t.Run(fmt.Sprintf("%s %s %d", w.zone, w.name, w.change.Year()), func(t *testing.T) {
			zone := location(t, w.zone)
			_, earlier := w.change.Add(-time.Second).In(zone).Zone()
			_, later := w.change.In(zone).Zone()
			require.Equal(t, w.shift, time.Duration(later-earlier)*time.Second, "the zone's change is another than this test says")

			for _, unit := range []struct {
				step   int64
				around time.Duration
				rounds int
			}{
				{60, 50 * time.Hour, *rounds},
				{1, min(max(w.shift.Abs(), time.Hour), 4*time.Hour) + 20*time.Minute, *rounds / 6},
			} {
				from, to := w.change.Add(-unit.around).Unix(), w.change.Add(unit.around).Unix()
				_, offset := time.Unix(from, 0).In(zone).Zone()
				shown := clocks(zone, from, to, unit.step)
				for range unit.rounds {
					r := randomReference(random, unit.step, civilOf(w.change.Unix()+int64(earlier)))
					e := parse(t, r.text)
					want := r.ticks(shown, from+int64(offset), from)
					got := unix(e, time.Unix(from, 0), time.Unix(to, 0), zone)
					require.Equal(t, want, got, "%s in %s, seed %d", r.text, w.zone, *seed)

					// The answer does not depend on where the search starts.
					after := from + random.Int64N(to-from)
					rest := want[len(want)-len(slices.DeleteFunc(slices.Clone(want), func(tick int64) bool { return tick <= after })):]
					if next, ok := e.Next(time.Unix(after, 999), zone); len(rest) > 0 {
						require.True(t, ok)
						require.Equal(t, rest[0], next.Unix(), "%s in %s after %d", r.text, w.zone, after)
					} else if ok {
						require.Greater(t, next.Unix(), to)
					}
				}
			}
		})
	}
}

func unix(e cron.Expression, from, to time.Time, zone *time.Location) []int64 {
	var ticks []int64
	for tick := range e.Ticks(from, to, zone) {
		ticks = append(ticks, tick.Unix())
	}
	return ticks
}

// randomReference makes an expression that has something to do around the change, whose clock shows near.
func randomReference(random *rand.Rand, step int64, near civil) *reference {
	r := &reference{step: step}
	var texts [6]string
	var starred bool
	texts[0], r.second = "0", func(n int) bool { return n == 0 }
	if step == 1 {
		texts[0], r.second, starred = randomField(random, 0, 60, 0, 60, nil)
		r.rhythm = r.rhythm || starred
	}
	texts[1], r.minute, starred = randomField(random, 0, 60, near.minute, 60, nil)
	r.rhythm = r.rhythm || starred
	texts[2], r.hour, starred = randomField(random, 0, 24, near.hour, 4, nil)
	r.rhythm = r.rhythm || starred
	texts[4], r.month, _ = randomField(random, 1, 12, near.month, 1, []string{"JAN", "Feb", "mar", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"})
	if random.IntN(3) > 0 {
		texts[4], r.month = "*", func(int) bool { return true }
	}

	var date, named func(int) bool
	texts[3], date, _ = randomField(random, 1, 31, near.date, 3, nil)
	lastDay := random.IntN(6) == 0
	if lastDay {
		texts[3] += ",l"
	}
	day := func(c civil) bool { return date(c.date) || lastDay && c.date == c.length }
	texts[5], named, _ = randomField(random, 0, 7, near.weekday, 2, []string{"SUN", "MON", "TUE", "wed", "Thu", "FRI", "SAT"})
	weekday := func(c civil) bool { return named(c.weekday) }
	switch nth, which := random.IntN(5)+1, (near.weekday+random.IntN(3)+6)%7; random.IntN(6) {
	case 0:
		texts[5] = fmt.Sprintf("%d#%d", which, nth)
		weekday = func(c civil) bool { return c.weekday == which && (c.date+6)/7 == nth }
	case 1:
		texts[5] = fmt.Sprintf("%dL", which)
		weekday = func(c civil) bool { return c.weekday == which && c.date+7 > c.length }
	case 2:
		texts[5], weekday = "7", func(c civil) bool { return c.weekday == 0 }
	}
	switch random.IntN(4) {
	case 0:
		texts[3], texts[5] = "*", "*"
		r.date = func(civil) bool { return true }
	case 1:
		texts[5] = "*"
		r.date = day
	case 2:
		texts[3] = "*"
		r.date = weekday
	default:
		r.date = func(c civil) bool { return day(c) || weekday(c) }
	}
	if slices.Contains(strings.Split(texts[3], ","), "*") {
		r.date = weekday
	}
	if slices.Contains(strings.Split(texts[5], ","), "*") {
		r.date = day
	}
	if texts[3] == "*" && texts[5] == "*" {
		r.date = func(civil) bool { return true }
	}
	if date(29) || date(30) || date(31) {
		texts[4], r.month = "*", func(int) bool { return true } // some months may not have those
	}
	r.text = strings.Join(texts[:], " ")
	if step == 60 {
		r.text = strings.Join(texts[1:], " ")
	}
	return r
}

// randomField returns a field's text and what it means, and whether it has a * or a step.
func randomField(random *rand.Rand, least, count, near, spread int, names []string) (text string, in func(int) bool, starred bool) {
	value := func() int { return least + ((near-least-spread/2+random.IntN(spread+1))%count+count)%count }
	write := func(v int) string {
		if names != nil && random.IntN(2) == 0 {
			return names[v-least]
		}
		return strconv.Itoa(v)
	}
	switch random.IntN(7) {
	case 0:
		return "*", func(int) bool { return true }, true
	case 1:
		step := 2 + random.IntN(count-2)
		return fmt.Sprintf("*/%d", step), func(n int) bool { return (n-least)%step == 0 }, true
	case 2: // a range that may wrap, maybe with a step
		first, length := value(), 2+random.IntN(count-2)
		step := 1 + random.IntN(2)*random.IntN(length-1)
		text = write(first) + "-" + write(least+(first-least+length-1)%count)
		if step > 1 || random.IntN(4) == 0 {
			text += "/" + strconv.Itoa(step)
		}
		return text, func(n int) bool {
			distance := (n - first + count) % count
			return distance < length && distance%step == 0
		}, step > 1
	case 3: // a list
		a, b, c := value(), value(), value()
		return write(a) + "," + write(b) + "," + write(c), func(n int) bool { return n == a || n == b || n == c }, false
	}
	v := value()
	return write(v), func(n int) bool { return n == v }, false
}
