package sqlite

import "sync"

// broadcast wakes all who wait for something.
type broadcast struct {
	mu    sync.Mutex
	calls int           // that wait
	more  chan struct{} // closed at the next one; nil if nobody waits
}

// begin begins to wait, and leave ends it.
func (b *broadcast) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
}

func (b *broadcast) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// next returns a channel that is closed at the next broadcast.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more == nil {
		b.more = make(chan struct{})
	}
	return b.more
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// waits reports whether somebody does.
func (b *broadcast) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls > 0
}
