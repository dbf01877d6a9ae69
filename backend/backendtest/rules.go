package backendtest

import (
	"slices"

	"github.com/omniq-go/omniq"
)

// rules are the rules of the contract.
var rules = slices.Concat(soleRules, flowsRules, boundedRules, replaceRules)

// soleRules are about tasks as such.
var soleRules = slices.Concat(
	leaseRules, startRules, waitRules, timeRules, deferRules, clockRules, resultRules, callRules,
	cancelRules, revokeRules, requeueRules, nowRules, updateRules, limitRules, uniqueRules, keyRules, inspectRules, listRules, statsRules, pauseRules, recordRules, monitorRules, historyRules,
	eventRules, cursorRules, raceRules, hostileRules,
)

// flowsRules are about tasks that are tied to others, and about what handlers leave of their tasks.
var flowsRules = slices.Concat(
	dependencyRules, inputRules, resolveRules, effectsRules, handoverRules, noteRules, streamRules,
	flowRules, followRules, tangleRules,
)

// boundedRules are about the limits and lanes of queues.
var boundedRules = slices.Concat(boundRules, laneRules)

func fences(c omniq.Capabilities) bool { return c.Fencing }

func prioritizes(c omniq.Capabilities) bool { return c.Priorities }
