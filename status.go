package omniq

import (
	"fmt"
	"slices"
)

// Status is the state that a task is in. The zero value is no status, and is refused wherever one is written.
//
// The text forms are upper-case names; reading them is case-sensitive.
type Status uint8

// The states of a task.
const (
	StatusPending   Status = iota + 1 // waits for its time and for a worker
	StatusRunning                     // a worker holds its lease
	StatusSuccess                     // final: its handler returned a result
	StatusFailure                     // final: it failed for good
	StatusCancelled                   // final: somebody cancelled it
	StatusExpired                     // final: its TTL passed before it could start
	StatusWaiting                     // waits for other tasks to end, or, if it is manual, to be resolved
)

var statusNames = [...]string{
	StatusPending:   "PENDING",
	StatusRunning:   "RUNNING",
	StatusSuccess:   "SUCCESS",
	StatusFailure:   "FAILURE",
	StatusCancelled: "CANCELLED",
	StatusExpired:   "EXPIRED",
	StatusWaiting:   "WAITING",
}

// transitions holds the steps that are legal. A status without a row is final.
var transitions = map[Status][]Status{
	StatusPending: {StatusRunning, StatusCancelled, StatusExpired},
	// Pending: what it waits for has ended. Success, failure: somebody has resolved it.
	StatusWaiting: {StatusPending, StatusSuccess, StatusFailure, StatusCancelled, StatusExpired},
	// Back to pending: a retry, a release, or a lease that was lost. Expired: found too late by the worker itself.
	// Waiting: its handler has passed its result on to other tasks.
	StatusRunning: {StatusPending, StatusSuccess, StatusFailure, StatusCancelled, StatusExpired, StatusWaiting},
}

// Statuses returns all statuses, in the order of their values. The caller owns the slice.
func Statuses() []Status {
	return enumerate[Status](len(statusNames))
}

// Final reports whether a task stays in s for ever.
func (s Status) Final() bool {
	return s.valid() && len(transitions[s]) == 0
}

// CanBecome reports whether a task in s may go to next in one step. No status can become itself.
func (s Status) CanBecome(next Status) bool {
	return slices.Contains(transitions[s], next)
}

func (s Status) valid() bool { return s > 0 && int(s) < len(statusNames) }

// String returns the name, or a form like Status(9) for a value that is no status.
func (s Status) String() string { return enumString(s, statusNames[:], "Status") }

// MarshalText returns the name. A value that is no status is an error.
func (s Status) MarshalText() ([]byte, error) { return enumText(s, statusNames[:], "status") }

// UnmarshalText accepts exactly the names.
func (s *Status) UnmarshalText(text []byte) error {
	return enumParse(s, text, statusNames[:], "status")
}

// enumString, enumText and enumParse are what the enumerations of the wire have in common: names from index 1 on.

func enumerate[E ~uint8](n int) []E {
	all := make([]E, 0, n-1)
	for i := 1; i < n; i++ {
		all = append(all, E(i))
	}
	return all
}

func enumString[E ~uint8](e E, names []string, typeName string) string {
	if e == 0 || int(e) >= len(names) {
		return fmt.Sprintf("%s(%d)", typeName, uint8(e))
	}
	return names[e]
}

func enumText[E ~uint8](e E, names []string, what string) ([]byte, error) {
	if e == 0 || int(e) >= len(names) {
		return nil, fmt.Errorf("omniq: %d is no %s, want 1 to %d", uint8(e), what, len(names)-1)
	}
	return []byte(names[e]), nil
}

func enumParse[E ~uint8](e *E, text []byte, names []string, what string) error {
	for i := 1; i < len(names); i++ {
		if names[i] == string(text) {
			*e = E(i)
			return nil
		}
	}
	return fmt.Errorf("omniq: %.40q is no %s, want one of %v", text, what, names[1:])
}
