package omniq

import "context"

// StateKey is what a handler leaves for the next attempt of its task. It is an immutable value, made by [State] and usable
// from many goroutines.
type StateKey[T any] struct{ key noteKey }

// State returns the key of a part of the state of tasks:
//
//	var Cursor = omniq.State[Position]("cursor")
//
// A task can have several parts. The name stands on the wire: the state of a task is a JSON object with a member for each
// part. Values are JSON, as the codec package's JSON writes it, whatever codec the worker has: a secret does not belong there.
// The state is kept until the task has succeeded, also while it is requeued.
//
// State panics if the name is not as a task's, or if T cannot be written as JSON and read back, as [Refer] says.
func State[T any](name string) StateKey[T] {
	return StateKey[T]{newNoteKey[T]("state", name)}
}

// Save stores a part of the state of the task whose handler calls it, and returns when it is stored: whatever happens then,
// the next attempt finds it. It takes the place of what was stored under the key, and leaves the other keys alone. Calls of
// several handlers at once are one for the engine; those of one handler are made one after another.
//
// ctx is the handler's or derived from it. When the attempt's timeout is over, or the worker shuts down, a handler can still
// save: Save does not end with the handler's own context, but with one that the handler has made to end before it. It waits
// for a third of the worker's lease at the most, some times that if the answer is lost. An error says that v is not stored, and
// the last value stays:
//
//   - [ErrLeaseLost] and [ErrCancelled] say that the task is not this attempt's any more;
//   - [ErrInvalid] says that the attempt has ended, that ctx is not a handler's in a worker, that the engine keeps no state,
//     that v cannot be encoded, or that the state of all keys together has more than [MaxNotes] bytes;
//   - with [ErrUncertain] and the error of ctx, whether v is stored is unknown;
//   - any other error is the engine's.
func (k StateKey[T]) Save(ctx context.Context, v T) error {
	j, err := k.key.jot(ctx)
	var text Raw
	if err == nil {
		text, err = appendNote(nil, &v, memberDepth)
	}
	if err == nil {
		err = j.save(ctx, k.key.quoted, text)
	}
	if err != nil {
		return k.key.fault(err)
	}
	return nil
}

// Load returns what was last saved, by this attempt or one before it. Where that is nothing, ok is false. It asks nobody: what
// the attempts before have left has come with the task. The error is as for Save, and [ErrInvalid] if what was saved is no T.
func (k StateKey[T]) Load(ctx context.Context) (v T, ok bool, err error) {
	j, err := k.key.jot(ctx)
	var text Raw
	if err == nil {
		text, err = j.load(k.key.quoted)
	}
	if err == nil && text != nil {
		err = readNote(text, &v)
	}
	if err != nil {
		var none T
		return none, false, k.key.fault(err)
	}
	return v, text != nil, nil
}
