package memory

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Whatever comes in which order and leaves again, tasks are taken out in the order in which they are leased.
func TestReady(t *testing.T) {
	tests := []struct {
		name       string
		priorities int
		late       int // of 100 tasks, those that became due before others that are there
		drops      int // of 100 steps, those that take out any task
		pops       int // of 100 steps, those that take out the first
	}{
		{"in order", 1, 0, 0, 30},
		{"all leave at once", 1, 0, 0, 60},
		{"some are late", 1, 20, 0, 45},
		{"any order", 1, 100, 10, 35},
		{"some leave", 1, 5, 30, 15},
		{"priorities", 5, 10, 20, 25},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			now := time.Now()
			var r ready
			var want []*entry // in the order in which they are leased
			for i := range 20_000 {
				switch n := random.IntN(100); {
				case n < test.pops && len(want) > 0:
					require.Same(t, want[0], r.pop())
					want = want[1:]
				case n < test.pops+test.drops && len(want) > 0:
					k := random.IntN(len(want))
					r.drop(want[k])
					want = slices.Delete(want, k, k+1)
				case n >= test.pops+test.drops:
					e := &entry{task: &omniq.RawTask{Priority: random.IntN(test.priorities)}, place: -1, seq: uint64(i)}
					e.due = now.Add(time.Duration(i/10) * time.Microsecond)
					if random.IntN(100) < test.late {
						e.due = e.due.Add(-time.Duration(random.IntN(1000)) * time.Microsecond)
					}
					r.push(e)
					k, _ := slices.BinarySearchFunc(want, e, func(a, b *entry) int {
						if a.task.Priority > b.task.Priority || a.task.Priority == b.task.Priority && a.before(b) {
							return -1
						}
						return 1
					})
					want = slices.Insert(want, k, e)
				}
				require.Equal(t, len(want), r.n)
			}
			for _, e := range want {
				require.Same(t, e, r.pop())
				require.Negative(t, e.place)
			}
			assert.Zero(t, r.n)
			assert.Empty(t, r.of)
		})
	}
}

// A task that stays ready does not keep the places of those that came after it and have left.
func TestLineHasNoMoreThanItNeeds(t *testing.T) {
	var l line
	l.push(&entry{})
	last := &entry{}
	l.push(last)
	for range 10_000 {
		next := &entry{}
		l.push(next)
		l.drop(last)
		last = next
	}
	assert.Less(t, cap(l.tasks), 100)
}
