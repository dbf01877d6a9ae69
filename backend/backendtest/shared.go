package backendtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq"
)

// sharedRule says what holds between two backends on one store.
type sharedRule struct {
	name  string
	check func(one, other *checker)
	needs func(omniq.Capabilities) bool // whether it is asked of an engine; nil: of each

	silent bool // the other keeps no events
}

// runShared asks the rules about sharing of an engine that claims to be shared.
func (cfg *config) runShared(t *testing.T, caps omniq.Capabilities) {
	if !caps.Shared && cfg.shared == nil {
		return
	}
	if cfg.shared == nil {
		t.Errorf("%s says that it is Shared, and nothing says how two backends are opened on one store: give Run the option Shared",
			caps.Name)
		return
	}
	for _, r := range slices.Concat(sharedRules, sharedFlowRules, sharedBoundRules, sharedMonitorRules, sharedHistoryRules, sharedReplaceRules) {
		t.Run(subtest("shared: "+r.name), func(t *testing.T) {
			t.Parallel()
			ofOther := long
			if r.silent {
				ofOther = 0
			}
			one, other := cfg.shared(t, long, ofOther)
			t.Cleanup(func() { assert.NoError(t, one.Close()) })
			t.Cleanup(func() { assert.NoError(t, other.Close()) })
			if r.needs != nil && !r.needs(one.Capabilities()) {
				t.Logf("not asked: %s does not promise it", caps.Name)
				return
			}
			r.check(&checker{T: t, rule: r.name, b: one}, &checker{T: t, rule: r.name, b: other})
		})
	}
}
