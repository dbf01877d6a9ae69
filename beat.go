package omniq

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// beater tells the backend that a worker is there, while Run goes on. It has a goroutine of its own: a beat that takes long keeps
// no lease from being extended.
type beater struct {
	w     *Worker
	began time.Time
	news  chan struct{} // holds a token when there is something new to tell
	stop  context.CancelFunc
	all   sync.WaitGroup
}

func newBeater(w *Worker) *beater {
	return &beater{w: w, began: time.Now(), news: make(chan struct{}, 1)}
}

// start begins to beat.
func (b *beater) start(ctx context.Context) {
	ctx, b.stop = context.WithCancel(ctx)
	b.all.Go(func() { b.run(ctx) })
}

// run beats at a third of the lease, whether the worker is idle or not, and sooner when that has failed.
func (b *beater) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.news:
		case <-timer.C:
		}
		pause := b.w.lease / 3
		switch err := b.beat(ctx, b.w.lease); {
		case errors.Is(err, ErrClosed):
			return
		case err != nil && ctx.Err() == nil:
			b.w.log.Warn("cannot tell that the worker is there; trying again", logkey.Error, err)
			pause = b.w.lease / 10
		}
		timer.Reset(pause)
	}
}

// leave tells that the worker takes no more tasks.
func (b *beater) leave() {
	b.w.mu.Lock()
	b.w.leaving = true
	b.w.mu.Unlock()
	b.news <- struct{}{}
}

// end tells that the worker has stopped, unless that cannot be told until a time.
func (b *beater) end(by time.Time) {
	b.stop()
	b.all.Wait() // a beat that came later would be the one that counts
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	if err := b.beat(ctx, 0); err != nil && !errors.Is(err, ErrClosed) {
		b.w.log.Warn("cannot tell that the worker has stopped: it seems to be there until its lease is over", logkey.Error, err)
	}
}

func (b *beater) beat(ctx context.Context, lease time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, b.w.lease/4)
	defer cancel()
	return b.w.backend.Beat(ctx, b.info(lease))
}

// info is what there is to say of the worker.
func (b *beater) info(lease time.Duration) WorkerInfo {
	w := b.w
	host, _ := os.Hostname() // it may be unknown
	w.mu.Lock()
	defer w.mu.Unlock()
	return WorkerInfo{
		ID: w.id, Host: validText(host), PID: os.Getpid(), Version: programVersion(), Queues: slices.Clone(w.queues), Names: w.names,
		Concurrency: w.concurrency, Running: w.handling, Stopping: w.leaving, Up: time.Since(b.began), Lease: lease,
	}
}

// programVersion is the version of the program's main module, as the build has found it.
var programVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Version
})
