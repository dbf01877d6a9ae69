package backendtest

import "slices"

// Together says of a backend that is Spread, see [omniq.Route], that all queues which the rules use live in one of its engines. All
// rules are asked of it. Without it those are left out in which tasks of several queues have to do with each other.
func Together() Option { return func(c *config) { c.together = true } }

// tied reports whether tasks of several queues have to do with each other in a rule.
func (r *rule) tied() bool {
	return slices.ContainsFunc(tiedRules, func(tied rule) bool { return tied.name == r.name }) || slices.Contains(tiedNames, r.name)
}

var tiedRules = slices.Concat(
	dependencyRules, inputRules, resolveRules, effectsRules, handoverRules, flowRules, followRules, tangleRules, replaceRules,
)

var tiedNames = []string{
	"a unique key is that of a function",
	"a unique key for a time is held that long, whatever became of its task",
	"Free takes a unique key from its task, which goes on",
	"a task that is updated is leased with its new payload, and else as it was enqueued",
	"a task of a lane that waits for others, and hands over to others, is in its lane",
	"each result of a Record counts for itself",
	"History has what events tell",
	"List shows the members of a flow, in one state or in all, of one queue or of all",
}

// oneCursor is a rule about cursors that are the same if the places are.
const oneCursor = "the events of one task are read by themselves, and the cursor goes on where it has none"
