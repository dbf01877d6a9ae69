package engine

import (
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
