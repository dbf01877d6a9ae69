package omniq

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omniq-go/omniq/internal/cron"
)

// When says at which times a schedule ticks: by the clock of a zone ([Cron]), at a distance ([Every]), at given times ([Once]), or
// by several of these ([AnyOf]), but for some times ([When.Except]) and between two times ([When.Between]).
//
// It is an immutable value that any number of goroutines may use. What is wrong with it is told by [Schedule] and by
// [When.Err].
type When struct{ rule *rule }

// rule is a When as it is stored: Cron, Every, Once or Any, and what restricts it.
type rule struct {
	Cron  string      `json:"cron,omitempty"`
	Zone  string      `json:"zone,omitempty"`
	Every int64       `json:"every,omitempty"` // in microseconds, as Phase
	Phase int64       `json:"phase,omitempty"`
	Once  []time.Time `json:"once,omitempty"`
	Any   []*rule     `json:"any,omitempty"`

	Except []*rule   `json:"except,omitempty"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`

	err  error
	expr cron.Expression
	loc  *time.Location
}

// Cron is the ticks of a cron expression by the clock of a time zone of the IANA database, like "Europe/Berlin"; an empty zone is
// UTC. "Local" is refused, because it is another zone on another machine.
//
// There are five fields, or six with the seconds first:
//
//	minute        0 to 59
//	hour          0 to 23
//	day of month  1 to 31; L is the last day
//	month         1 to 12 or JAN to DEC
//	day of week   0 to 7 or SUN to SAT, 0 and 7 are Sunday; 5L is the last Friday, MON#2 the second Monday of the month
//
// with lists (1,15), ranges (MON-FRI, and FRI-MON, which wraps), steps (*/15, 8-17/2), and @yearly, @monthly, @weekly, @daily and
// @hourly for whole expressions. Where both day of month and day of week are restricted, a day that fulfils one of them counts.
//
// Where the zone's clock changes, the rule is that of Vixie's cron:
//
//   - A fixed time, without a * or a step in second, minute and hour, ticks once each day that it is meant for. If the clock
//     leaves it out in spring, it ticks at the end of the gap; if the clock shows it twice in autumn, the first time only.
//   - A rhythm, with a * or a step there, has no tick in the gap, and goes on through both passes of the hour that comes twice.
//
// Each process that declares or serves the schedule needs the zone: import time/tzdata where machines have no database of zones.
func Cron(expression, zone string) When {
	return When{(&rule{Cron: expression, Zone: zone}).parsed()}
}

// Every is a tick each time that a duration has passed: from 1 January 1970 UTC on, so that no restart and no change shifts it,
// plus [When.Phase]. It is at least a millisecond, in whole microseconds. Days of 24 hours are not those of a clock: for the same
// time each day use [Cron].
func Every(d time.Duration) When {
	r := &rule{Every: d.Microseconds()}
	if d < time.Millisecond || d%time.Microsecond != 0 {
		r.err = invalid("Every is %v, want at least 1ms, in whole microseconds", d)
	}
	return When{r}
}

// Once is a tick at each of the times, in whole microseconds.
func Once(times ...time.Time) When {
	r := &rule{Once: make([]time.Time, len(times))}
	if len(times) == 0 {
		r.err = invalid("Once without a time")
	}
	for i, t := range times {
		r.Once[i] = t.UTC().Truncate(time.Microsecond)
		if err := checkTime("Once", r.Once[i]); err != nil {
			r.err = invalid("%w", err)
		}
	}
	slices.SortFunc(r.Once, time.Time.Compare)
	r.Once = slices.CompactFunc(r.Once, time.Time.Equal)
	return When{r}
}

// AnyOf is the ticks of all of several: those at the same time are one.
func AnyOf(whens ...When) When {
	r := &rule{}
	if len(whens) == 0 {
		r.err = invalid("AnyOf nothing")
	}
	for _, w := range whens {
		if err := w.Err(); err != nil {
			r.err = err
			continue
		}
		r.Any = append(r.Any, w.rule)
	}
	return When{r.checked()}
}

// Phase shifts the ticks of [Every]: Every(time.Hour).Phase(5*time.Minute) ticks five minutes past each hour. Negative is earlier.
// For others than Every it is an error.
func (w When) Phase(d time.Duration) When {
	return w.with(func(r *rule) error {
		if r.Every == 0 || d%time.Microsecond != 0 {
			return invalid("Phase is %v of a schedule that is %v, want whole microseconds, and one by Every", d, w)
		}
		r.Phase = mod(d.Microseconds(), r.Every)
		return nil
	})
}

// Except leaves out the ticks that are, to the second, among those of another: Cron("0 9 * * MON-FRI", zone).Except(Cron("* * 25 12 *",
// zone)) does not tick on the 25th of December.
func (w When) Except(other When) When {
	return w.with(func(r *rule) error {
		if err := other.Err(); err != nil {
			return err
		}
		r.Except = append(slices.Clone(r.Except), other.rule)
		return r.checked().err
	})
}

// Between leaves out the ticks before from, and those at or after until. A zero time is no bound.
func (w When) Between(from, until time.Time) When {
	return w.with(func(r *rule) error {
		from, until := from.Truncate(time.Microsecond), until.Truncate(time.Microsecond)
		if from.After(r.From) {
			r.From = from.UTC()
		}
		if !until.IsZero() && (r.Until.IsZero() || until.Before(r.Until)) {
			r.Until = until.UTC()
		}
		if !r.Until.IsZero() && !r.From.Before(r.Until) {
			return invalid("a schedule between %v and %v, want a time before a later one", r.From, r.Until)
		}
		return nil
	})
}

// with returns a changed copy.
func (w When) with(change func(*rule) error) When {
	if w.Err() != nil {
		return w
	}
	r := *w.rule
	if err := change(&r); err != nil {
		return When{&rule{err: err}}
	}
	return When{&r}
}

// Err reports what is wrong with it: an expression, a zone that is unknown on this machine, a duration, a time. errors.Is finds
// [ErrInvalid] in what it returns.
func (w When) Err() error {
	if w.rule == nil {
		return invalid("a When that Cron, Every, Once or AnyOf has not made")
	}
	return w.rule.err
}

// String describes it for people.
func (w When) String() string {
	if err := w.Err(); err != nil {
		return "invalid"
	}
	return w.rule.String()
}

func (r *rule) String() string {
	var b strings.Builder
	switch {
	case r.Cron != "":
		fmt.Fprintf(&b, "cron %q in %s", r.Cron, r.loc)
	case r.Every != 0:
		fmt.Fprintf(&b, "every %v", micros(r.Every))
		if r.Phase != 0 {
			fmt.Fprintf(&b, " from %v", micros(r.Phase))
		}
	case r.Once != nil:
		b.WriteString("once at ")
		for i, t := range r.Once[:min(len(r.Once), 3)] {
			b.WriteString(strings.Repeat(", ", min(i, 1)) + t.Format(time.RFC3339Nano))
		}
		if n := len(r.Once) - 3; n > 0 {
			b.WriteString(" and " + strconv.Itoa(n) + " more times")
		}
	default:
		for i, other := range r.Any {
			b.WriteString(strings.Repeat(", or ", min(i, 1)) + other.String())
		}
	}
	for _, other := range r.Except {
		b.WriteString(", except " + other.String())
	}
	if !r.From.IsZero() {
		b.WriteString(", from " + r.From.Format(time.RFC3339Nano))
	}
	if !r.Until.IsZero() {
		b.WriteString(", until " + r.Until.Format(time.RFC3339Nano))
	}
	return b.String()
}

// Next returns the first tick after a time, in UTC. There is none, and ok is false, if it ticks no more: for none before the year
// 9999, and for a mistake that Err tells. A When whose ticks Except takes away gives up after a million of them.
func (w When) Next(after time.Time) (tick time.Time, ok bool) {
	if w.Err() != nil {
		return time.Time{}, false
	}
	tick, ok, _ = w.rule.next(after, maxExcepted)
	return tick, ok
}

// maxExcepted bounds the work of looking for a tick.
const (
	maxExcepted = 1_000_000
	maxNested   = 10_000 // for what is excepted
)

// next returns the first tick after a time. Without one, it may be that it has not looked at times after rest.
func (r *rule) next(after time.Time, budget int) (tick time.Time, ok bool, rest time.Time) {
	if after.Before(r.From) {
		after = r.From.Add(-time.Microsecond)
	}
	for range budget {
		if tick, ok, rest = r.base(after, budget); !ok {
			return time.Time{}, false, r.bounded(rest)
		}
		if !r.Until.IsZero() && !tick.Before(r.Until) {
			return time.Time{}, false, time.Time{}
		}
		if !r.excepted(tick) {
			return tick, true, time.Time{}
		}
		after = tick
	}
	return time.Time{}, false, after
}

// bounded is zero for a time after which there is nothing.
func (r *rule) bounded(rest time.Time) time.Time {
	if !r.Until.IsZero() && !rest.Before(r.Until) {
		return time.Time{}
	}
	return rest
}

func (r *rule) excepted(tick time.Time) bool {
	for _, other := range r.Except {
		second := tick.Truncate(time.Second)
		if t, ok, _ := other.next(second.Add(-time.Microsecond), maxNested); ok && t.Before(second.Add(time.Second)) {
			return true
		}
	}
	return false
}

// base is next without Except and the bounds.
func (r *rule) base(after time.Time, budget int) (tick time.Time, ok bool, rest time.Time) {
	switch {
	case r.Cron != "":
		tick, ok = r.expr.Next(after, r.loc)
		return tick.UTC(), ok, time.Time{}
	case r.Every != 0:
		us := after.UnixMicro()
		us += r.Every - mod(us-r.Phase, r.Every)
		return time.UnixMicro(us).UTC(), us < lastTick.UnixMicro(), time.Time{}
	case r.Once != nil:
		i, found := slices.BinarySearchFunc(r.Once, after, time.Time.Compare)
		if found {
			i++
		}
		if i == len(r.Once) {
			return time.Time{}, false, time.Time{}
		}
		return r.Once[i], true, time.Time{}
	}
	for _, other := range r.Any {
		t, found, left := other.next(after, budget)
		if found && (!ok || t.Before(tick)) {
			tick, ok = t, true
		}
		if !found && !left.IsZero() && (rest.IsZero() || left.Before(rest)) {
			rest = left
		}
	}
	if ok && !rest.IsZero() && rest.Before(tick) { // one of them may tick before that
		return time.Time{}, false, rest
	}
	return tick, ok, rest
}

var lastTick = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// maxRules is how many parts a When may have.
const maxRules = 1000

// checked refuses what has too many parts.
func (r *rule) checked() *rule {
	if r.err == nil && r.count() > maxRules {
		r.err = invalid("a When of more than %d parts", maxRules)
	}
	return r
}

func (r *rule) count() int {
	n := 1
	for _, other := range slices.Concat(r.Any, r.Except) {
		n += other.count()
	}
	return n
}

// parsed reads the expression and the zone.
func (r *rule) parsed() *rule {
	var err error
	if r.expr, err = cron.Parse(r.Cron); err != nil {
		r.err = invalid("%w", err)
		return r
	}
	if r.Zone == "Local" {
		r.err = invalid("the zone of cron expression %q is Local, want a name like Europe/Berlin: Local is another zone on another machine", r.Cron)
		return r
	}
	if r.loc, err = time.LoadLocation(r.Zone); err != nil {
		r.err = &zoneError{r.Zone, err}
		return r
	}
	if _, ok := r.expr.Next(firstTick, r.loc); !ok {
		r.err = invalid("cron expression %q never ticks in %s: the changes of the clock leave out its times", r.Cron, r.Zone)
	}
	return r
}

var firstTick = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// zoneError is that of a zone that this machine does not know.
type zoneError struct {
	zone string
	err  error
}

func (e *zoneError) Error() string {
	return fmt.Sprintf("%v: time zone %q is unknown on this machine, want one of the IANA database like Europe/Berlin, or import time/tzdata: %v",
		ErrInvalid, e.zone, e.err)
}

func (e *zoneError) Unwrap() []error { return []error{ErrInvalid, e.err} }

// UnmarshalJSON reads a rule as it was stored, and what it needs to tick.
func (r *rule) UnmarshalJSON(text []byte) error {
	type plain rule
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	kinds := 0
	for _, is := range []bool{r.Cron != "", r.Every >= time.Millisecond.Microseconds(), r.Once != nil, r.Any != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || slices.Contains(r.Any, nil) || slices.Contains(r.Except, nil) {
		return fmt.Errorf("no times of a schedule that this release knows: %.200s", text)
	}
	if r.Cron != "" {
		return r.parsed().err
	}
	return nil
}

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// mod is the remainder that is never negative.
func mod(n, by int64) int64 { return (n%by + by) % by }
