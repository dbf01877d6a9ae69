package engine

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
)

// Add counts what an event tells.
func Add(m *omniq.Minute, what omniq.EventType, n int) {
	switch what {
	case omniq.EventEnqueued:
		m.Enqueued += n
	case omniq.EventStarted:
		m.Started += n
	case omniq.EventCompleted:
		m.Succeeded += n
	case omniq.EventFailed:
		m.Failed += n
	case omniq.EventRetried:
		m.Retried += n
	case omniq.EventCancelled:
		m.Cancelled += n
	case omniq.EventExpired:
		m.Expired += n
	}
}

// HistoryFrom is the time at which a history begins, with times in microseconds: a minute that ends later is in it.
func HistoryFrom(now int64, last time.Duration) int64 {
	return now - min(last, omniq.HistoryKept).Microseconds()
}

// MinuteOf is the minute in which a time is, with times in microseconds.
func MinuteOf(us int64) int64 {
	const minute = int64(time.Minute / time.Microsecond)
	return us - ((us%minute)+minute)%minute
}

// Place is the queue and the function of tasks that are counted together.
type Place struct{ Queue, Name string }

// Places bounds how many places a minute has, whatever queues and functions there are: see [omniq.MaxPlaces].
type Places struct {
	mu     sync.Mutex
	minute int64
	seen   map[Place]bool
}

// Of is the place of tasks in a minute: their own while there are few, then that of all queues, then that of all tasks.
func (p *Places) Of(minute int64, place Place) Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	if minute != p.minute || p.seen == nil {
		p.minute, p.seen = minute, make(map[Place]bool)
	}
	for _, c := range []struct {
		place Place
		most  int
	}{{place, omniq.MaxPlaces}, {Place{Name: place.Name}, 2 * omniq.MaxPlaces}} {
		if p.seen[c.place] {
			return c.place
		}
		if len(p.seen) < c.most {
			p.seen[c.place] = true
			return c.place
		}
	}
	return Place{}
}

// AddMinute adds what was done in one part of a minute to what was done in another.
func AddMinute(to, from *omniq.Minute) {
	to.Enqueued += from.Enqueued
	to.Started += from.Started
	to.Succeeded += from.Succeeded
	to.Failed += from.Failed
	to.Retried += from.Retried
	to.Cancelled += from.Cancelled
	to.Expired += from.Expired
	to.Wait = AddTime(to.Wait, from.Wait)
	to.Run = AddTime(to.Run, from.Run)
}

// AppendMinute is append for lists of ten thousands, which it doubles: append itself lets these grow by a quarter, and
// copies them again and again.
func AppendMinute(list []omniq.Minute, m omniq.Minute) []omniq.Minute {
	if len(list) == cap(list) {
		list = slices.Grow(list, max(len(list), 64))
	}
	return append(list, m)
}

// Waited is for how long a task is counted as having been due. One that has a time of long ago, so as to be the first, has not waited
// since then.
func Waited(now, due time.Time) time.Duration { return min(max(0, now.Sub(due)), longestWait) }

const longestWait = 365 * 24 * time.Hour

// AddTime is the sum of two times that are not negative, as far as it can be told.
func AddTime(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxInt64
}

// Spent is a time in microseconds, as far as it can be told.
func Spent(us int64) time.Duration {
	return time.Duration(min(us, int64(math.MaxInt64/time.Microsecond))) * time.Microsecond
}
