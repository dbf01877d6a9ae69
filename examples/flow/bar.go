package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/flow/words"
)

// bar shows how many bytes have been counted: as a bar on a terminal, else by a line for each tenth.
type bar struct {
	stderr   io.Writer
	terminal bool

	mu      sync.Mutex
	counted map[uuid.UUID]int64 // of each chunk
	sum     int64
	total   int64 // 0 while it is not known
	told    int64 // tenths
	shown   *progressbar.ProgressBar
}

func newBar(stderr io.Writer) *bar {
	f, ok := stderr.(*os.File)
	return &bar{stderr: stderr, terminal: ok && term.IsTerminal(int(f.Fd())), counted: make(map[uuid.UUID]int64)}
}

// Write takes the bar away, to be drawn again by the next change, and writes a message where it was.
func (b *bar) Write(message []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown != nil {
		_ = b.shown.Clear()
	}
	return b.stderr.Write(message)
}

// follow shows the progress of each chunk while it is counted, whichever process does that, until ctx ends. The cursor is from
// before the flow.
func (b *bar) follow(ctx context.Context, client *omniq.Client, f *flow, cursor *omniq.Cursor) {
	files, err := f.files.Wait(ctx)
	if err != nil {
		return // which is the flow's end, too
	}
	b.begin(files)
	var running sync.WaitGroup
	defer running.Wait()
	for e, err := range client.Follow(ctx, cursor) {
		if err != nil {
			return
		}
		if e.EventType != omniq.EventStarted || e.Queue != f.queue {
			continue
		}
		running.Go(func() {
			for n, err := range words.Counted.Follow(ctx, words.CountChunk.Attach(client, e.TaskID)) {
				if err != nil {
					return
				}
				b.set(e.TaskID, n)
			}
		})
	}
}

// begin says how much there is to count.
func (b *bar) begin(files []words.File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range files {
		b.total += f.Size
	}
	if b.terminal && b.total > 0 {
		b.shown = progressbar.NewOptions64(b.total,
			progressbar.OptionSetWriter(b.stderr),
			progressbar.OptionSetDescription("counting"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	b.show()
}

// set says how much of a chunk has been counted.
func (b *bar) set(chunk uuid.UUID, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum += n - b.counted[chunk]
	b.counted[chunk] = n
	b.show()
}

// show shows it. What cannot be drawn is no reason to stop.
func (b *bar) show() {
	if b.shown != nil {
		_ = b.shown.Set64(b.sum)
		return
	}
	if b.total == 0 || b.terminal {
		return
	}
	if tenths := 10 * b.sum / b.total; tenths > b.told {
		b.told = tenths
		fmt.Fprintf(b.stderr, "%d of %d bytes counted\n", b.sum, b.total)
	}
}

// end takes the bar away.
func (b *bar) end() { _, _ = b.Write(nil) }
