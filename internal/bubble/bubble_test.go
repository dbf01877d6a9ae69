package bubble_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq/internal/bubble"
)

// Without one processor, the race detector ends this test's process within a few seconds: timers that the bubble's clock fires wake
// goroutines that receive from timers which are due.
func TestTimersRunOneAfterTheOther(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	for range 20 {
		bubble.Test(t, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range 100 {
						<-time.After(time.Millisecond)
						<-time.After(0)
					}
				})
			}
			wg.Wait()
			synctest.Wait()
		})
	}
	assert.Equal(t, before, runtime.GOMAXPROCS(0), "GOMAXPROCS after the bubbles")
}

func TestBubblesAtOnce(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Run("group", func(t *testing.T) {
		for _, name := range []string{"a", "b", "c"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				bubble.Test(t, func(*testing.T) { time.Sleep(time.Hour) })
			})
		}
	})
	assert.Equal(t, before, runtime.GOMAXPROCS(0), "GOMAXPROCS after the bubbles")
}
