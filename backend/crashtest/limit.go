package crashtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// limit is that of the queue while processes are killed, where the engine has limits.
var limit = omniq.Limit{Running: 12, EachLane: omniq.LaneLimit{Running: 4}}

// lanes are those of the tasks; the empty one is for none.
var lanes = []string{"", "a", "b", "c"}

// watchLimit sets the limit, and looks again and again whether it holds, until unwatch is called.
func (r *runner) watchLimit(open Open) (unwatch func()) {
	b, err := open(r.plan.Place)
	require.NoError(r.t, err)
	if !b.Capabilities().Limits {
		assert.NoError(r.t, b.Close())
		return func() {}
	}
	client, err := omniq.NewClient(b)
	require.NoError(r.t, err)
	require.NoError(r.t, client.SetLimit(r.t.Context(), omniq.DefaultQueue, limit))
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		looks := 0
		for stopped := false; !stopped && r.runsWithin(client); looks++ {
			select {
			case <-every.C:
			case <-stop:
				stopped = true
			}
		}
		done <- looks
	}()
	return func() {
		close(stop)
		assert.Positive(r.t, <-done, "looks at what runs")
		assert.NoError(r.t, b.Close())
	}
}

// runsWithin reports whether what runs is within the limit. A list is of one moment only if it is one page.
func (r *runner) runsWithin(client *omniq.Client) bool {
	running := make(map[string]int)
	all := 0
	for info, err := range client.List(r.t.Context(), omniq.StatusRunning, "") {
		if err != nil {
			return assert.NoError(r.t, err)
		}
		all++
		if info.Lane != "" {
			running[info.Lane]++
		}
	}
	for lane, n := range running {
		assert.LessOrEqual(r.t, n, limit.EachLane.Running, "tasks of lane %q that run", lane)
	}
	return assert.LessOrEqual(r.t, all, limit.Running, "tasks that run")
}
