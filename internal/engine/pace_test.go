package engine_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// In no window do more tasks come than the rate and its burst permit, and who takes each task that he may gets all of the rate.
func TestPace(t *testing.T) {
	for _, r := range []omniq.Rate{
		omniq.PerSecond(20), omniq.PerMinute(7), {Tasks: 3, Per: time.Second, Burst: 5}, {Tasks: 1, Per: time.Hour, Burst: 1},
		{Tasks: 1_000_000, Per: time.Second, Burst: 1}, {Tasks: 999, Per: time.Millisecond},
	} {
		every, burst := r.Every()
		p := engine.PaceOf(r)
		assert.True(t, p.Bounds())
		now, used := int64(1_700_000_000_000_000), int64(0)
		var came []int64
		for range 300 {
			n := p.Room(used, now)
			assert.LessOrEqual(t, n, int64(burst))
			assert.Equal(t, n > 0, p.Opens(used, now) <= now, "%v", r)
			n = min(n, 1+rand.Int64N(3))
			used = p.Charge(used, now, n)
			for range n {
				came = append(came, now)
			}
			if n == 0 {
				now = p.Opens(used, now)
				assert.Equal(t, int64(1), p.Room(used, now), "%v: the time at which it opens is the first", r)
				assert.Zero(t, p.Room(used, now-1), "%v", r)
			} else if rand.IntN(4) == 0 {
				now += rand.Int64N(4 * every.Microseconds())
			}
		}
		for i := range came {
			if i >= burst {
				assert.GreaterOrEqual(t, came[i]-came[i-burst], every.Microseconds(), "%v: task %d", r, i)
			}
		}
		assert.LessOrEqual(t, p.Carry(now+time.Hour.Microseconds()*1000, now), now+int64(burst)*every.Microseconds())
	}
	none := engine.PaceOf(omniq.Rate{})
	assert.False(t, none.Bounds())
	assert.Positive(t, none.Room(1<<62, 1))
	assert.Equal(t, []int64{5, 1, 0}, []int64{none.Charge(5, 1, 3), none.Opens(9, 1), none.Carry(9, 1)})
}
