// Package bubble runs tests in bubbles of testing/synctest under the race detector.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

var processors struct {
	mu      sync.Mutex
	bubbles int // that run
	before  int // GOMAXPROCS before the first of them began
}

// Test is [synctest.Test]. Under the race detector, the process has one processor while bubbles run.
//
// All timers of a bubble share one goroutine of the race detector. Up to Go 1.26 two of them may run at once, one by the bubble's clock
// and one by a goroutine that receives from the channel of a timer that is due. The detector then reads memory of its own that is not
// there, or fails a check of its own, and the process ends with no word of a race: golang.org/issue/78156. On one processor, timers run
// one after the other.
func Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if raced {
		narrow()
		defer widen()
	}
	synctest.Test(t, f)
}

func narrow() {
	p := &processors
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bubbles++; p.bubbles == 1 {
		p.before = runtime.GOMAXPROCS(1)
	}
}

func widen() {
	p := &processors
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bubbles--; p.bubbles == 0 {
		runtime.GOMAXPROCS(p.before)
	}
}
