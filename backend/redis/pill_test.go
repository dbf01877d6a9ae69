package redis_test

import (
	"fmt"
	"testing"

	"github.com/omniq-go/omniq/backend/crashtest"
)

// A task that ends its process fails for good, and takes no other with it.
func TestPill(t *testing.T) {
	for _, c := range []crashtest.PillPlan{
		{Retries: 0, Prefetch: 200, Short: 400},
		{Retries: 3, Long: 15},
	} {
		t.Run(fmt.Sprintf("retries %d prefetch %d", c.Retries, c.Prefetch), func(t *testing.T) {
			t.Parallel()
			c.Place = namespace(t) + " " + url(t)
			crashtest.Pill(t, openCrash, c)
		})
	}
}
