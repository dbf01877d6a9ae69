package postgres

import (
	"hash/fnv"
	"sync"

	"github.com/google/uuid"
)

// topic is something that can be waited for, in any process. Two may be the same by chance: who is woken looks whether
// there is something.
type topic uint64

func topicOf(kind byte, name string) topic {
	h := fnv.New64a()
	h.Write([]byte{kind})
	h.Write([]byte(name))
	return topic(h.Sum64())
}

// The topics: tasks of a queue that are ready, a task that is final, a worker that has lost a lease, events.
func queueTopic(queue string) topic   { return topicOf('q', queue) }
func resultTopic(id uuid.UUID) topic  { return topicOf('r', string(id[:])) }
func workerTopic(worker string) topic { return topicOf('w', worker) }

var eventTopic = topicOf('e', "")

// hub wakes those in this process who wait for something.
type hub struct {
	mu      sync.Mutex
	waiting map[topic]map[*subscription]struct{}
}

// subscription is one who waits.
type subscription struct {
	woken  chan struct{} // has one element from the first call of wake on until it is taken
	topics []topic
}

func newHub() *hub { return &hub{waiting: make(map[topic]map[*subscription]struct{})} }

// subscribe begins to wait; cancel ends it.
func (h *hub) subscribe(topics ...topic) *subscription {
	s := &subscription{make(chan struct{}, 1), topics}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range topics {
		if h.waiting[t] == nil {
			h.waiting[t] = make(map[*subscription]struct{}, 1)
		}
		h.waiting[t][s] = struct{}{}
	}
	return s
}

func (h *hub) cancel(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range s.topics {
		delete(h.waiting[t], s)
		if len(h.waiting[t]) == 0 {
			delete(h.waiting, t)
		}
	}
}

func (h *hub) wake(topics ...topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range topics {
		for s := range h.waiting[t] {
			s.wake()
		}
	}
}

// wakeAll is for when it is not known what has happened.
func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.waiting {
		for s := range all {
			s.wake()
		}
	}
}

func (s *subscription) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// tell wakes those who wait, in this process at once and in others soon.
func (b *Backend) tell(topics ...topic) {
	b.hub.wake(topics...)
	if b.notifier != nil {
		b.notifier.add(topics)
	}
}
