package backendtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq"
)

// A quick run asks what another one does, but for the costly rules.
func TestQuick(t *testing.T) {
	var all, quick config
	Quick()(&quick)
	for _, caps := range []omniq.Capabilities{{}, {Events: true}} {
		for _, r := range rules {
			want := all.asks(&r, caps) && !slices.Contains(costly, r.name)
			assert.Equal(t, want, quick.asks(&r, caps), r.name)
		}
	}
}
