package omniq

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ProgressKey is what a handler tells of how far it is, for people to look at. It is an immutable value, made by [Progress]
// and usable from many goroutines.
type ProgressKey[T any] struct{ key noteKey }

// Progress returns the key of a kind of progress:
//
//	var Copied = omniq.Progress[CopyProgress]("copied")
//
// A task can have progress of several kinds at once. The name stands on the wire: the progress of a task is a JSON object with
// a member for each kind. Values are JSON, as the codec package's JSON writes it, whatever codec the worker and the client
// have: a secret does not belong there. They are kept as long as the task's result.
//
// Progress panics if the name is not as a task's, or if T cannot be written as JSON and read back, as [Refer] says.
func Progress[T any](name string) ProgressKey[T] {
	return ProgressKey[T]{newNoteKey[T]("progress", name)}
}

// Set sets the progress of the task whose handler calls it. It does not wait for the engine. The last value wins: what is
// set meanwhile is sent to the engine after 250 ms, for all tasks of the worker at once, and with the end of the attempt,
// however it ends. So a handler can call Set as often as it likes. v is encoded before Set returns, and not kept.
//
// The first Set of an attempt takes the place of what the attempts before have set, of all keys. If the worker dies, what it
// has not sent is gone. ctx is the handler's or derived from it, also if it has ended. An error says that the value is not set,
// and the last one stays:
//
//   - [ErrLeaseLost] and [ErrCancelled] say that the task is not this attempt's any more;
//   - [ErrInvalid] says that the attempt has ended, that ctx is not a handler's in a worker, that the engine keeps no progress,
//     that v cannot be encoded, or that the progress of all keys together has more than [MaxNotes] bytes.
func (k ProgressKey[T]) Set(ctx context.Context, v T) error {
	if err := k.set(ctx, v); err != nil {
		return k.key.fault(err)
	}
	return nil
}

// progressBuffers are free memory for values, so that Set needs none of its own.
var progressBuffers = sync.Pool{New: func() any { return new(Raw) }}

func (k *ProgressKey[T]) set(ctx context.Context, v T) error {
	j, err := k.key.jot(ctx)
	if err != nil {
		return err
	}
	b := progressBuffers.Get().(*Raw)
	defer progressBuffers.Put(b)
	if *b, err = appendNote((*b)[:0], &v, memberDepth); err == nil {
		*b, err = j.set(k.key.quoted, *b)
	}
	return err
}

// Of returns the progress of a task as it is now. Where none is set, ok is false. The error is [ErrNotFound] if there is no
// such task, [ErrInvalid] if the engine keeps no progress or if what is set is no T, or the engine's.
func (k ProgressKey[T]) Of(ctx context.Context, h Handled) (v T, ok bool, err error) {
	text, _, err := k.look(ctx, h)
	if err == nil && text != nil {
		err = readNote(text, &v)
	}
	if err != nil {
		var none T
		return none, false, k.key.fault(err)
	}
	return v, text != nil, nil
}

// look returns the text of the progress of a task, nil for none, and what else is known of the task.
func (k *ProgressKey[T]) look(ctx context.Context, h Handled) (Raw, *TaskInfo, error) {
	c, id, err := k.key.reader(h)
	if err != nil {
		return nil, nil, err
	}
	info, err := c.backend.Inspect(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	all, err := readMembers(info.Progress)
	if err != nil {
		return nil, nil, payloadFault("progress", err)
	}
	if i := all.find(k.key.quoted); i >= 0 {
		return all.list[i].value, info, nil
	}
	return nil, info, nil
}

// How often a follower looks: less often while nothing changes.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// Follow returns the progress of a task as it is now, if any is set, and each change from now on that can be seen, within a
// second. It asks the engine two to ten times a second, so it may miss a value that another one follows soon, but not the
// last one. It ends when the task is final, after the last value; at once for a task that was final already.
//
// An error ends it. It is as for Of, or that of ctx when that has ended. A task whose result is not kept (its TTL is zero, or
// over) ends it without an error if it was seen before.
func (k ProgressKey[T]) Follow(ctx context.Context, h Handled) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		c, id, err := k.key.reader(h)
		if err != nil {
			yield(none, k.key.fault(err))
			return
		}
		ctx, stop := context.WithCancel(ctx)
		final := c.final(ctx, id)
		defer func() {
			stop()
			<-final
		}()
		var last Raw
		end := (<-chan struct{})(final)
		pause := firstLook
		for seen := false; ; seen = true {
			text, info, err := k.look(ctx, h)
			if seen && errors.Is(err, ErrNotFound) {
				return
			}
			var v T
			changed := err == nil && text != nil && string(text) != string(last)
			if changed {
				last, pause = text, firstLook
				err = readNote(text, &v)
			}
			switch {
			case err != nil:
				yield(none, k.key.fault(err))
				return
			case changed && !yield(v, nil), info.Status.Final():
				return
			}
			select {
			case <-end:
				end = nil // it may have been an error
			case <-time.After(pause):
				pause = min(2*pause, lastLook)
			case <-ctx.Done():
				yield(none, k.key.fault(ctx.Err()))
				return
			}
		}
	}
}

// final returns a channel that is closed when the task is final, the engine does not tell any more, or ctx has ended.
func (c *Client) final(ctx context.Context, id uuid.UUID) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.backend.Await(ctx, id) // the task itself is looked at
	}()
	return done
}
