package backendtest

import "github.com/omniq-go/omniq"

// brokenReplaceShares are not of one mind about places.
var brokenReplaceShares = []rift{
	{"knows no places of the other", func(_, other *half) {
		tasks(func(t *omniq.RawTask) { t.OnHeld = omniq.HeldRefuse })(other.broken)
	}, []string{
		"what one enqueues takes the place of what the other has, and waits behind what the other works",
		"what one replaces while the other leases is run, or what came after it, once",
	}},
	{"replaces in two steps", func(one, _ *half) { twoSteps(one.broken) }, []string{
		"what one replaces while the other leases is run, or what came after it, once",
	}},
}
