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

// streamTopic is of a task whose streams have more. It ends with the task, of which resultTopic tells.
func streamTopic(id uuid.UUID) topic { return topicOf('s', string(id[:])) }

var (
	eventTopic = topicOf('e', "")
	workTopic  = topicOf('f', "") // there is work for whoever does it
)

// hub wakes those in this process who wait for something.
type hub struct {
	mu      sync.Mutex
	waiting map[topic]map[*subscription]struct{}
	names   map[topic]watched // of the topics that were given to watch
}

// watched is a topic of which it can be asked whether there is something.
type watched struct {
	kind byte // as in topicOf
	name string
}

// subscription is one who waits.
type subscription struct {
	woken  chan struct{} // has one element from the first call of wake on until it is taken
	topics []topic
}

func newHub() *hub {
	return &hub{waiting: make(map[topic]map[*subscription]struct{}), names: make(map[topic]watched)}
}

// subscribe begins to wait; cancel ends it.
func (h *hub) subscribe(topics ...topic) *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.add(topics)
}

// watch is subscribe for names of a kind, and the maintainer looks for what happens to them.
func (h *hub) watch(kind byte, names ...string) *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := make([]topic, len(names))
	for i, name := range names {
		topics[i] = topicOf(kind, name)
		h.names[topics[i]] = watched{kind, name}
	}
	return h.add(topics)
}

// watched returns the queues and the workers that somebody watches.
func (h *hub) watched() (queues, workers list[string]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.names {
		if w.kind == 'q' {
			queues = append(queues, w.name)
		} else {
			workers = append(workers, w.name)
		}
	}
	return queues, workers
}

// add begins to wait. Mu is locked.
func (h *hub) add(topics []topic) *subscription {
	s := &subscription{make(chan struct{}, 1), topics}
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
			delete(h.names, t)
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
