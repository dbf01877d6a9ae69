package omniq

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/envelope"
)

// MaxDependencies is how many dependencies a task may have, and how many members a flow may have when it is stored.
const MaxDependencies = 100_000

// MaxInputs is how many bytes the inputs of one task may have together: the results that its dependencies hand on. A task
// with more fails for good when it would be leased.
const MaxInputs = 64 << 20

// Dependency is one of the tasks that a task waits for. It has ended when that task is final.
type Dependency struct {
	ID    uuid.UUID // of a task that is stored, or that stands before the dependent in the same call
	Need  Need      // what its end must be
	Input bool      // its result is handed out with the dependent's lease, and kept as long as anything is kept of the dependent
}

// Need says how a dependency must end so that its dependent can start.
type Need uint8

// Ways in which a dependency must end.
const (
	NeedSuccess Need = iota // with success; any other end ends the dependent, too: see [DependencyResult]
	NeedFinal               // in any way
)

var needNames = [...]string{NeedSuccess: "SUCCESS", NeedFinal: "FINAL"}

// String returns the need in one word.
func (n Need) String() string {
	if int(n) < len(needNames) {
		return needNames[n]
	}
	return fmt.Sprintf("Need(%d)", uint8(n))
}

// MarshalText returns the name. A value that is no need is an error.
func (n Need) MarshalText() ([]byte, error) {
	if int(n) >= len(needNames) {
		return nil, fmt.Errorf("omniq: %d is no need, want one of %v", uint8(n), needNames)
	}
	return []byte(needNames[n]), nil
}

// UnmarshalText accepts exactly the names.
func (n *Need) UnmarshalText(text []byte) error {
	for i, name := range needNames {
		if name == string(text) {
			*n = Need(i)
			return nil
		}
	}
	return fmt.Errorf("omniq: %.40q is no need, want one of %v", text, needNames)
}

// Met reports whether a dependency that has ended with a final status is what its dependent needs.
func (n Need) Met(s Status) bool { return s == StatusSuccess || n == NeedFinal && s.Final() }

// The keys of a dependency, in the order in which they are written. A need of success and an input that is not one are left
// out.
const (
	dependencyID = iota
	dependencyNeed
	dependencyInput
)

var dependencyKeys = []string{dependencyID: `"id":`, dependencyNeed: `"need":`, dependencyInput: `"input":`}

// dependencySize is how many bytes a dependency has in JSON at the most.
const dependencySize = 80

func writeDependencies(w *envelope.Writer, after []Dependency) {
	w.Lit(`,"after":[`)
	for i := range after {
		if i > 0 {
			w.Lit(",")
		}
		w.ID(`{"id":`, &after[i].ID)
		if after[i].Need != NeedSuccess {
			w.Enum(`,"need":`, uint8(after[i].Need), needNames[:])
		}
		if after[i].Input {
			w.Bool(`,"input":`, true)
		}
		w.Lit("}")
	}
	w.Lit("]")
}

func readDependencies(r *envelope.Reader, to *[]Dependency) {
	var after []Dependency
	r.Objects(dependencyKeys, 1<<dependencyID, func(r *envelope.Reader) error {
		if len(after) == MaxDependencies {
			return fmt.Errorf("more than %d dependencies", MaxDependencies)
		}
		var d Dependency
		for r.Next() {
			switch r.Key {
			case dependencyID:
				r.ID(&d.ID)
			case dependencyNeed:
				r.Enum(&d.Need, "a need")
			case dependencyInput:
				r.Bool(&d.Input)
			}
		}
		after = append(after, d)
		return nil
	})
	*to = after
}

// CheckDependencies reports what is wrong with what the task with this ID is to wait for: it is [ErrInvalid].
func CheckDependencies(id uuid.UUID, after []Dependency) error {
	if err := checkDependencies(id, after); err != nil {
		return invalid("task %v: %w", id, err)
	}
	return nil
}

// checkDependencies refuses what no engine could wait for.
func checkDependencies(id uuid.UUID, after []Dependency) error {
	if len(after) > MaxDependencies {
		return fmt.Errorf("%d dependencies, want at most %d", len(after), MaxDependencies)
	}
	var seen map[uuid.UUID]struct{}
	if len(after) > 1 {
		seen = make(map[uuid.UUID]struct{}, len(after))
	}
	for i, d := range after {
		switch {
		case d.ID == uuid.Nil:
			return errors.New("a dependency without an ID")
		case d.ID == id:
			return errors.New("it depends on itself")
		case int(d.Need) >= len(needNames):
			return fmt.Errorf("it depends on task %v with %v, want %v or %v", d.ID, d.Need, NeedSuccess, NeedFinal)
		}
		if seen != nil {
			if seen[d.ID] = struct{}{}; len(seen) == i {
				return fmt.Errorf("it depends on task %v twice", d.ID)
			}
		}
	}
	return nil
}

// InputsResult is the result of a task whose inputs have more than [MaxInputs] bytes together. Backends record it instead of
// handing the task out.
func InputsResult(t *RawTask, at time.Time, attempts int, size int64) *RawResult {
	r := finalResult(t, StatusFailure, at, attempts)
	r.Error = &TaskError{Type: typeInput, Message: fmt.Sprintf("its inputs have %d bytes together, want at most %d", size, MaxInputs)}
	return r
}

// DependencyResult is the result of a task that can never start: a task that it needs has ended in another way, with the
// given name and result. Backends record it. It is cancelled, and its error, in which errors.Is finds [ErrDependency], names
// the task that began it: where the dependency has ended because of one of its own, that one. It is kept as long as a failure.
func DependencyResult(t *RawTask, at time.Time, attempts int, name string, dependency *RawResult) *RawResult {
	r := finalResult(t, StatusFailure, at, attempts) // it is kept like one: until somebody has looked after what failed
	r.Status = StatusCancelled
	if e := dependency.Error; e != nil && e.Type == typeDependency {
		r.Error = e
		return r
	}
	how := map[Status]string{StatusFailure: "failed", StatusCancelled: "was cancelled", StatusExpired: "expired"}[dependency.Status]
	message := fmt.Sprintf("it needs task %v, %q, which %s", dependency.TaskID, name, how)
	if e := dependency.Error; e != nil {
		message += ": " + e.Message
	}
	r.Error = &TaskError{Type: typeDependency, Message: validText(message)}
	return r
}
