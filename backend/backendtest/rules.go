package backendtest

import (
	"slices"

	"github.com/omniq-go/omniq"
)

// rules are the rules of the contract.
var rules = slices.Concat(
	leaseRules, startRules, waitRules, timeRules, deferRules, clockRules, resultRules, callRules,
	cancelRules, revokeRules, requeueRules, nowRules, updateRules, limitRules, uniqueRules, keyRules, inspectRules, listRules, statsRules, pauseRules, recordRules,
	eventRules, cursorRules, raceRules, hostileRules,
	dependencyRules, inputRules, resolveRules, effectsRules, handoverRules, noteRules, streamRules,
	flowRules, followRules,
)

func fences(c omniq.Capabilities) bool { return c.Fencing }

func prioritizes(c omniq.Capabilities) bool { return c.Priorities }
