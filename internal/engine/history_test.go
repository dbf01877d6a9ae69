package engine

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq"
)

func TestMinuteOf(t *testing.T) {
	for _, tt := range []struct{ us, want int64 }{
		{0, 0}, {59_999_999, 0}, {60_000_000, 60_000_000}, {60_000_001, 60_000_000}, {-1, -60_000_000}, {-60_000_000, -60_000_000},
	} {
		assert.Equal(t, tt.want, MinuteOf(tt.us), "of %d", tt.us)
	}
}

func TestHistoryFrom(t *testing.T) {
	assert.EqualValues(t, 40_000_000, HistoryFrom(100_000_000, time.Minute))
	assert.Equal(t, -omniq.HistoryKept.Microseconds(), HistoryFrom(0, 1<<63-1))
}

// Places are few in a minute, and each keeps being told apart that has been.
func TestPlaces(t *testing.T) {
	var p Places
	name := func(i int) Place { return Place{"q" + strconv.Itoa(i), "f"} }
	for range 2 {
		for i := range omniq.MaxPlaces {
			assert.Equal(t, name(i), p.Of(0, name(i)))
		}
		assert.Equal(t, Place{Name: "f"}, p.Of(0, name(omniq.MaxPlaces)), "all queues")
		for i := 1; i < omniq.MaxPlaces; i++ {
			n := "f" + strconv.Itoa(i)
			assert.Equal(t, Place{Name: n}, p.Of(0, Place{"other", n}))
		}
		assert.Equal(t, Place{}, p.Of(0, Place{"other", "new"}), "all tasks")
		assert.Equal(t, Place{Name: "f"}, p.Of(0, Place{"other", "f"}))
	}
	assert.Equal(t, Place{"other", "new"}, p.Of(60_000_000, Place{"other", "new"}), "in the next minute")
}
