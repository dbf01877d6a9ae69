package sqlite

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Stream returns items of a stream of a task, and waits for one if it is told to: see [omniq.ResultStore].
func (b *Backend) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	none := omniq.StreamPage{Next: r.After}
	if err := engine.CheckStream(&r); err != nil {
		return none, err
	}
	if r.Wait <= 0 {
		page, err := b.readStream(ctx, &r, time.Time{})
		if err != nil {
			return none, err
		}
		return page, nil
	}
	timer := time.NewTimer(r.Wait)
	defer timer.Stop()
	began := b.config.clock().Truncate(time.Microsecond)
	s := b.streams.begin(r.TaskID)
	defer b.streams.leave(r.TaskID, s)
	b.w.poke() // to poll from now on
	for wait := true; ; {
		more := s.next() // before it is looked, so that nothing is missed
		page, err := b.readStream(ctx, &r, began)
		if err != nil {
			return none, err
		}
		if len(page.Items) > 0 || page.Ended || !wait {
			return page, nil
		}
		select {
		case <-more:
		case <-timer.C:
			wait = false
		case <-ctx.Done():
			return none, contextError(ctx)
		case <-b.life.Done():
			return none, b.ended()
		}
	}
}

// readStream returns the items that there are. What became final since the reader began to wait counts, if that is not zero,
// even if it is not kept.
func (b *Backend) readStream(ctx context.Context, r *omniq.StreamRequest, began time.Time) (page omniq.StreamPage, err error) {
	err = b.settled(ctx, r.TaskID, func(c *conn) error {
		return c.snapshot(func() error {
			page = omniq.StreamPage{Next: r.After}
			result, err := lookUp(c, r.TaskID, began, b.config.clock().UnixMicro())
			if err != nil {
				return err
			}
			if result == nil {
				return omniq.ErrNotFound
			}
			page.Ended = result.Status.Final()
			const q = "SELECT n, data FROM omniq_items WHERE id = ? AND name = ? AND n > ? ORDER BY n LIMIT ?"
			return c.query(q, func(v []driver.Value) error {
				if len(page.Items) == r.Max {
					page.Ended = false
					return nil
				}
				page.Items, page.Next = append(page.Items, omniq.Raw(text(v[1]))), v[0].(int64)
				return nil
			}, r.TaskID[:], r.Name, r.After, int64(r.Max)+1)
		})
	})
	return page, err
}

// streams are the tasks whose streams somebody reads in this process, and waits.
type streams struct {
	mu      sync.Mutex
	waiting map[uuid.UUID]*broadcast
}

// begin begins to wait for what a task brings, and leave ends it.
func (s *streams) begin(id uuid.UUID) *broadcast {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting[id]
	if !ok {
		if s.waiting == nil {
			s.waiting = make(map[uuid.UUID]*broadcast)
		}
		w = new(broadcast)
		s.waiting[id] = w
	}
	w.begin()
	return w
}

func (s *streams) leave(id uuid.UUID, w *broadcast) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.leave(); !w.waits() {
		delete(s.waiting, id)
	}
}

// waits reports whether somebody does.
func (s *streams) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0
}

// stir wakes those who wait for what a transaction has brought.
func (s *streams) stir(t *tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return
	}
	for _, id := range t.streams {
		if w, ok := s.waiting[id]; ok {
			w.send()
		}
	}
	for _, e := range t.ended {
		if w, ok := s.waiting[e.id]; ok {
			w.send()
		}
	}
}

// stirAll wakes all: others may have brought something.
func (s *streams) stirAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		w.send()
	}
}
