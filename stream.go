package omniq

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/omniq-go/omniq/internal/payload"
)

// StreamKey is a stream of values that a handler sends to whoever reads. It is an immutable value, made by [Stream] and
// usable from many goroutines.
type StreamKey[T any] struct{ key noteKey }

// Stream returns the key of a stream of tasks:
//
//	var Rows = omniq.Stream[Row]("rows")
//
// A task can have several streams. The name stands on the wire. Values are JSON, as the codec package's JSON writes it,
// whatever codec the worker and the client have: a secret does not belong there. They are kept as long as the task and its
// result, and are gone when it is requeued.
//
// Stream panics if the name is not as a task's, or if T cannot be written as JSON and read back, as [Refer] says.
func Stream[T any](name string) StreamKey[T] {
	return StreamKey[T]{newNoteKey[T]("stream", name)}
}

// Send adds values to the stream of the task whose handler calls it, in their order, and returns when they are stored: each
// reader gets them then. Calls of several goroutines at once are one for the engine. Who has many values sends them faster in
// one call than one by one.
//
// What an attempt has sent stays in the stream if it fails, and the next one adds to it: a [State] can tell it where to go on.
//
// ctx is as for [StateKey.Save]. With an error none of the values is stored, unless it says how many are: more than a thousand
// values, or than [MaxNotes] bytes of them, are stored in several steps. No value alone may have more than [MaxNotes] bytes.
// The errors are those of Save. With [ErrUncertain] and the error of ctx, whether the last of them are stored is unknown; to send them
// again may store them twice.
func (k StreamKey[T]) Send(ctx context.Context, values ...T) error {
	j, err := k.key.jot(ctx)
	var items []StreamItem
	if err == nil {
		items, err = k.items(values)
	}
	if err == nil {
		err = j.send(ctx, items)
	}
	if err != nil {
		return k.key.fault(err)
	}
	return nil
}

func (k *StreamKey[T]) items(values []T) ([]StreamItem, error) {
	items := make([]StreamItem, len(values))
	for i := range values {
		text, err := appendNote(nil, &values[i], payload.MaxDepth)
		if err == nil && len(text) > MaxNotes {
			err = invalid("it has %d bytes, want at most %d", len(text), MaxNotes)
		}
		if err != nil && len(values) > 1 {
			err = fmt.Errorf("value %d of %d: %w", i+1, len(values), err)
		}
		if err != nil {
			return nil, err
		}
		items[i] = StreamItem{k.key.name, text}
	}
	return items, nil
}

// How a reader asks.
const (
	streamPage = 100         // items
	streamWait = time.Minute // for a first one
)

// Of returns the values of a task's stream in the order in which they were stored, from the first, however late the reader
// comes. It waits for further ones, and ends when the task is final and all are read. Nothing is left out. While the reader
// works on a value, nothing is read ahead but the rest of a page of 100.
//
// An error ends it: [ErrNotFound] if there is no such task, or its result's TTL is over before all was read; [ErrInvalid] if
// the engine keeps no streams or if a value is no T; that of ctx when that has ended; or the engine's.
func (k StreamKey[T]) Of(ctx context.Context, h Handled) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		c, id, err := k.key.reader(h)
		if err != nil {
			yield(none, k.key.fault(err))
			return
		}
		r := StreamRequest{TaskID: id, Name: k.key.name, Max: streamPage, Wait: streamWait}
		for {
			page, err := c.backend.Stream(ctx, r)
			if err != nil {
				yield(none, k.key.fault(err))
				return
			}
			for _, text := range page.Items {
				var v T
				if err := readNote(text, &v); err != nil {
					yield(none, k.key.fault(err))
					return
				}
				if !yield(v, nil) {
					return
				}
			}
			if page.Ended {
				return
			}
			r.After = page.Next
		}
	}
}
