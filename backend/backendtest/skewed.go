package backendtest

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
)

// clockSkews are how far the clocks of skewed backends are ahead of the test's.
var clockSkews = map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute}

// runSkewed asks the rules about clocks that differ.
func (cfg *config) runSkewed(t *testing.T) {
	if cfg.skewed == nil {
		return
	}
	for where, by := range clockSkews {
		for _, r := range skewedRules {
			check := r.check
			r.check = func(c *checker) {
				c.skew = by
				check(c)
			}
			r.run(t, "clock "+where+": "+r.name, cfg.much, func(t *testing.T) omniq.Backend { return cfg.skewed(t, by) })
		}
	}
}
