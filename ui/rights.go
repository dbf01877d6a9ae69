package ui

import (
	"net/http"
	"strings"
)

// Rights are what somebody may do. Without [View] the others are worth nothing.
type Rights uint8

// What somebody may do.
const (
	View     Rights = 1 << iota // see everything but payloads
	Act                         // pause and resume, cancel, requeue, run now and forget, trigger and backfill
	Edit                        // enqueue copies of tasks with other arguments, set limits, delete schedules
	Payloads                    // see arguments, results, progress, state and metadata, and search in them

	// Everything is all rights.
	Everything = View | Act | Edit | Payloads
)

var rightNames = []string{"view", "act", "edit", "payloads"}

// Always gives everybody the same rights.
func Always(r Rights) func(*http.Request) Rights {
	return func(*http.Request) Rights { return r }
}

// Has reports whether all of other are among the rights.
func (r Rights) Has(other Rights) bool { return r&View != 0 && r&other == other }

// String returns the names of the rights.
func (r Rights) String() string {
	var names []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}
