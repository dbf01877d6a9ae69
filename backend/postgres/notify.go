package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/omniq-go/omniq/internal/logkey"
)

const (
	notifyGap  = 5 * time.Millisecond // between two transactions that notify
	maxTopics  = 700                  // in one notification, which has less than 8,000 bytes
	queueNote  = "queue:"             // how the notification of one queue begins that SQL has enqueued into
	keepAlive  = patience             // after which the connection that listens is tried
	listenWait = 5 * time.Second      // between two tries to listen, at the longest
)

// notifier tells other processes what has happened: what comes while it does so, or soon after, it tells together.
type notifier struct {
	b       *Backend
	sender  [8]byte // whom this process need not listen to: itself
	signal  chan struct{}
	mu      sync.Mutex
	pending map[topic]struct{}
}

func newNotifier(b *Backend) *notifier {
	n := &notifier{b: b, signal: make(chan struct{}, 1), pending: make(map[topic]struct{})}
	_, _ = rand.Read(n.sender[:]) // never fails
	return n
}

func (n *notifier) add(topics []topic) {
	if len(topics) == 0 {
		return
	}
	n.mu.Lock()
	for _, t := range topics {
		n.pending[t] = struct{}{}
	}
	n.mu.Unlock()
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

// take returns the notifications that are to be sent.
func (n *notifier) take() (notes []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	notes = notesOf(n.sender, slices.Collect(maps.Keys(n.pending)))
	clear(n.pending)
	return notes
}

// nobody is the sender of what everybody is to hear.
var nobody [8]byte

// notesOf are notifications of topics.
func notesOf(sender [8]byte, topics []topic) (notes []string) {
	for part := range slices.Chunk(topics, maxTopics) {
		buf := append(make([]byte, 0, 8*(len(part)+1)), sender[:]...)
		for _, t := range part {
			buf = binary.BigEndian.AppendUint64(buf, uint64(t))
		}
		notes = append(notes, base64.RawStdEncoding.EncodeToString(buf))
	}
	return notes
}

// run sends until the backend is closed. Who is not told because the database cannot be reached finds by polling.
func (n *notifier) run() {
	for {
		select {
		case <-n.signal:
			ctx, cancel := bounded(n.b.ctx)
			n.send(ctx)
			cancel()
		case <-n.b.closing:
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			n.send(ctx) // what has just been done
			cancel()
			return
		}
		select {
		case <-time.After(notifyGap):
		case <-n.b.closing:
		}
	}
}

func (n *notifier) send(ctx context.Context) {
	notes := n.take()
	if len(notes) == 0 {
		return
	}
	const q = "SELECT pg_notify($1, note) FROM unnest($2::text[]) AS note"
	if _, err := n.b.own.Exec(ctx, q, n.b.config.channel(), notes); err != nil && n.b.ctx.Err() == nil {
		n.b.config.logger.Warn("postgres: other processes could not be notified, and find by polling", logkey.Error, err)
	}
}

// channel is what is listened to.
func (c *config) channel() string { return "omniq:" + c.schema }

// listen hears what other processes tell, as long as the backend is open.
func (b *Backend) listen() {
	wait := 50 * time.Millisecond
	for b.ctx.Err() == nil {
		began := time.Now()
		err := b.hear()
		if b.ctx.Err() != nil {
			return
		}
		if time.Since(began) > keepAlive {
			wait = 50 * time.Millisecond
		}
		b.config.logger.Warn("postgres: the connection that listens is lost; polling until there is another",
			logkey.Error, err, logkey.Pause, wait)
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
		}
		wait = min(2*wait, listenWait)
	}
}

// hear listens until the connection is lost.
func (b *Backend) hear() error {
	taken, err := b.own.Acquire(b.ctx)
	if err != nil {
		return err
	}
	c := taken.Hijack() // made as the pool makes them, and in nobody's way from now on
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx) // it is not needed any more
	}()
	if _, err := c.Exec(b.ctx, "LISTEN "+pgx.Identifier{b.config.channel()}.Sanitize()); err != nil {
		return err
	}
	b.hub.wakeAll() // for what was told before
	for {
		ctx, cancel := context.WithTimeout(b.ctx, keepAlive)
		note, err := c.WaitForNotification(ctx)
		silent := ctx.Err() != nil
		cancel()
		switch {
		case note != nil:
			b.receive(note.Payload)
		case b.ctx.Err() != nil:
			return err
		case silent:
			ctx, cancel := context.WithTimeout(b.ctx, keepAlive)
			err := c.Ping(ctx)
			cancel()
			if err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// receive wakes those whom a notification is for.
func (b *Backend) receive(note string) {
	if len(note) > len(queueNote) && note[:len(queueNote)] == queueNote {
		b.hub.wake(queueTopic(note[len(queueNote):]), eventTopic)
		b.maintainer.poke(0)
		return
	}
	buf, err := base64.RawStdEncoding.DecodeString(note)
	if err != nil || len(buf)%8 != 0 || len(buf) == 0 || [8]byte(buf) == b.notifier.sender {
		return // somebody else's, or our own
	}
	topics := make([]topic, 0, len(buf)/8-1)
	for buf = buf[8:]; len(buf) > 0; buf = buf[8:] {
		t := topic(binary.BigEndian.Uint64(buf))
		topics = append(topics, t)
		if t == workTopic {
			b.maintainer.poke(0)
		}
	}
	b.hub.wake(topics...)
}
