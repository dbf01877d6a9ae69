package omniq

import "fmt"

// OnHeld is the rule for a task whose UniqueKey is held by another one. [Enqueuer] has the whole of it.
//
// The text forms are upper-case names; reading them is case-sensitive.
type OnHeld uint8

// What becomes of a task whose UniqueKey is held.
const (
	HeldRefuse  OnHeld = iota // it is a [Duplicate], and the holder is untouched
	HeldReplace               // it takes the place of a holder that is pending, and the key of one that is under way
	HeldBehind                // as HeldReplace, but it waits until the one that is under way has ended
)

var onHeldNames = [...]string{HeldRefuse: "REFUSE", HeldReplace: "REPLACE", HeldBehind: "BEHIND"}

// String returns the name, or a form like OnHeld(9) for a value that is none.
func (o OnHeld) String() string {
	if int(o) < len(onHeldNames) {
		return onHeldNames[o]
	}
	return fmt.Sprintf("OnHeld(%d)", uint8(o))
}

// MarshalText returns the name. A value that has none is an error.
func (o OnHeld) MarshalText() ([]byte, error) {
	if int(o) >= len(onHeldNames) {
		return nil, fmt.Errorf("omniq: %d is no rule for a key that is held, want one of %v", uint8(o), onHeldNames)
	}
	return []byte(onHeldNames[o]), nil
}

// UnmarshalText accepts exactly the names.
func (o *OnHeld) UnmarshalText(text []byte) error {
	for i, name := range onHeldNames {
		if name == string(text) {
			*o = OnHeld(i)
			return nil
		}
	}
	return fmt.Errorf("omniq: %.40q is no rule for a key that is held, want one of %v", text, onHeldNames)
}
