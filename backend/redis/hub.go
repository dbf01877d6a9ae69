package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq/internal/logkey"
)

// The topics, of which scripts tell in channels of their own: tasks of a queue that are ready, a task that is final (with its result), a
// worker that has lost a lease, a task whose streams have more, events, and work that is due by itself (with how soon).
func queueTopic(queue string) string   { return "q:" + queue }
func resultTopic(id uuid.UUID) string  { return "r:" + string(id[:]) }
func workerTopic(worker string) string { return "v:" + worker }
func streamTopic(id uuid.UUID) string  { return "s:" + string(id[:]) }

const (
	eventTopic = "e"
	workTopic  = "w"
)

const (
	lookAtUnused = time.Second // how often it is looked how many topics nobody waits for
	mostUnused   = 10_000      // of them a connection has at the most, beside those that somebody waits for
)

// hub subscribes to the topics for which somebody waits, and wakes those. One connection has all of them, and nothing is unsubscribed
// from on it: a server that a script keeps busy refuses to, on which the library panics. What nobody waits for stays subscribed until
// there is much of it. Then another connection takes the place of this one.
type hub struct {
	b     *Backend
	stirs chan struct{} // has one element while there is something to subscribe to

	mu     sync.Mutex
	topics map[string]*topic
	up     bool // the connection is
}

type topic struct {
	subscriptions map[*subscription]struct{}
	sent          bool          // it is subscribed to, or will be when the server has answered
	confirmed     chan struct{} // closed when it is
}

// subscription is one who waits.
type subscription struct {
	h      *hub
	topics []string
	woken  chan struct{} // has one element from the first message on until it is taken

	// Under the hub's lock:
	content string // of the last message that had any
	unsure  bool   // something may have happened of which the server has not told
}

func newHub(b *Backend) *hub {
	return &hub{b: b, stirs: make(chan struct{}, 1), topics: make(map[string]*topic)}
}

// subscribe begins to wait, and returns when the server will tell of what happens from now on, or cannot be reached: the one who
// waits polls besides. Cancel ends it.
func (h *hub) subscribe(ctx context.Context, names ...string) *subscription {
	s := &subscription{h: h, topics: names, woken: make(chan struct{}, 1)}
	confirmed := make([]chan struct{}, len(names))
	h.mu.Lock()
	up := h.up
	for i, name := range names {
		t := h.topics[name]
		if t == nil {
			t = &topic{subscriptions: make(map[*subscription]struct{}), confirmed: make(chan struct{})}
			h.topics[name] = t
		}
		t.subscriptions[s] = struct{}{}
		confirmed[i] = t.confirmed
	}
	h.mu.Unlock()
	h.stir()
	if !up {
		s.doubt()
		return s
	}
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	for _, c := range confirmed {
		select {
		case <-c:
			continue
		case <-s.woken: // the connection has broken
		case <-patience.C:
		case <-ctx.Done():
		case <-h.b.closing:
		}
		s.doubt()
		break
	}
	return s
}

// doubt lets it be woken when the server tells of what happens, if it does not yet.
func (s *subscription) doubt() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.unsure = true
	s.wake()
}

func (s *subscription) cancel() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	for _, name := range s.topics {
		if t := s.h.topics[name]; t != nil {
			delete(t.subscriptions, s)
		}
	}
}

// message returns what the last message had in it, once.
func (s *subscription) message() string {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	content := s.content
	s.content = ""
	return content
}

func (s *subscription) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (h *hub) stir() {
	select {
	case h.stirs <- struct{}{}:
	default:
	}
}

// listen keeps the connection until the backend is closed.
func (h *hub) listen() {
	troubled := false
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		began := time.Now()
		err := h.connect()
		switch {
		case errors.Is(err, errUnused):
			pause, troubled = 0, false
		case time.Since(began) > time.Second:
			pause, troubled = 10*time.Millisecond, false
		case err != nil && h.b.ctx.Err() == nil && !troubled && pause == time.Second:
			troubled = true
			h.b.config.logger.Warn("redis: the server does not tell what others do, it is only looked for", logkey.Error, err)
		}
		select {
		case <-h.b.closing:
			return
		case <-time.After(pause):
		}
		pause = max(pause, 5*time.Millisecond)
	}
}

// errUnused ends a connection that has too many topics for which nobody waits.
var errUnused = errors.New("redis: the connection is subscribed to much for which nobody waits")

// connect listens on one connection until that ends.
func (h *hub) connect() error {
	c, _ := h.b.client.Dedicate()
	defer c.Close() // to give it back would unsubscribe
	ended := c.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: h.heard, OnSubscription: h.subscribed})
	h.mu.Lock()
	for name, t := range h.topics {
		if len(t.subscriptions) == 0 {
			delete(h.topics, name)
			continue
		}
		t.sent = false
		select {
		case <-t.confirmed:
			t.confirmed = make(chan struct{})
		default:
		}
	}
	h.up = true
	h.mu.Unlock()
	defer h.lost()
	tick := time.NewTicker(lookAtUnused)
	defer tick.Stop()
	h.stir()
	for {
		var err error
		select {
		case <-h.stirs:
			if names := h.missing(); len(names) > 0 {
				err = c.Do(h.b.ctx, c.B().Ssubscribe().Channel(names...).Build()).Error()
			}
		case <-tick.C:
			if h.unused() > mostUnused {
				return errUnused
			}
		case err = <-ended:
			if err == nil { // it has been closed here
				return nil
			}
		case <-h.b.closing:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (h *hub) channel(name string) string { return h.b.config.prefix() + "c:" + name }

// missing are the channels that are to be subscribed to.
func (h *hub) missing() (channels []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, t := range h.topics {
		if !t.sent {
			t.sent = true
			channels = append(channels, h.channel(name))
		}
	}
	return channels
}

// unused is for how many topics nobody waits.
func (h *hub) unused() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		if len(t.subscriptions) == 0 {
			n++
		}
	}
	return n
}

// lost wakes all, because it is not known what happens from now on.
func (h *hub) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up = false
	for _, t := range h.topics {
		for s := range t.subscriptions {
			s.unsure = true
			s.wake()
		}
	}
}

// subscribed is told by the server what it has done. It is called by the reader of the connection.
func (h *hub) subscribed(p rueidis.PubSubSubscription) {
	name := strings.TrimPrefix(p.Channel, h.channel(""))
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[name]
	if t == nil || !t.sent {
		return
	}
	if p.Kind != "ssubscribe" { // the slot has moved to another server: this one says no more
		t.sent = false
		for s := range t.subscriptions {
			s.wake()
		}
		h.stir()
		return
	}
	select {
	case <-t.confirmed:
	default:
		close(t.confirmed)
	}
	for s := range t.subscriptions {
		if s.unsure {
			s.unsure = false
			s.wake()
		}
	}
}

// heard is told of what has happened.
func (h *hub) heard(m rueidis.PubSubMessage) {
	name := strings.TrimPrefix(m.Channel, h.channel(""))
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[name]; t != nil {
		for s := range t.subscriptions {
			if m.Message != "" {
				s.content = m.Message
			}
			s.wake()
		}
	}
}

// patience is how long a call that waits does so before it looks by itself.
func (h *hub) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.up {
		return h.b.config.poll
	}
	return min(h.b.config.poll, 100*time.Millisecond)
}
