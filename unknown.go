package omniq

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// MaxUnknown is how long a task waits for a worker that knows its name and its codec, from the first time that a worker
// gave it back for want of them, unless it has a TTL, which bounds that too. Then it fails with [ErrUnknownTask].
const MaxUnknown = 24 * time.Hour

// Bounds of the pause before the next worker is to look at a task that this one does not know.
const (
	minUnknownPause = 100 * time.Millisecond
	maxUnknownPause = time.Minute
)

// unknownCodec returns the name of the task's codec if err is that the worker does not have it.
func (w *Worker) unknownCodec(t *RawTask, err error) (name string, ok bool) {
	if _, ok := errors.AsType[*unknownCodecError](err); !ok {
		return "", false
	}
	_, err = codecFor(t.Codec, w.codecs) // the error may be of something that the handler has read
	return t.Codec, err != nil
}

// shun is how an attempt ends of a task that this worker cannot run because it has no such thing.
func (w *Worker) shun(a *attempt, thing, name string) Settlement {
	t, since := a.lease.Task, a.lease.Deferred
	if t.TTL == nil && since >= MaxUnknown {
		return failure(a, a.lease.Attempt-1, &TaskError{
			Type: typeUnknown,
			Message: fmt.Sprintf("for %v there was no worker of this queue with a %s named %q; the last one that looked was %s",
				since.Round(time.Second), thing, name, w.id),
			Retryable: true,
		})
	}
	delay := spread(min(max(since/8, minUnknownPause), maxUnknownPause), 0.5)
	level := slog.LevelDebug
	w.mu.Lock()
	if w.strange.add(thing + " " + name) {
		level = slog.LevelWarn
	}
	w.mu.Unlock()
	w.logAttempt(a, level, "this worker has no such "+thing+"; the task is given back for another one",
		slog.String(logkey.Name, name), slog.Duration(logkey.Since, since), slog.Duration(logkey.Delay, delay))
	return Settlement{Action: ActionDefer, Delay: delay}
}

// strangers are names and codecs that a worker has met and does not know. The worker's mu guards it.
type strangers map[string]struct{}

// add reports whether a name is new. Beyond some hundreds none is.
func (s *strangers) add(name string) bool {
	const most = 500
	if _, ok := (*s)[name]; ok || len(*s) == most {
		return false
	}
	if *s == nil {
		*s = make(strangers)
	}
	(*s)[name] = struct{}{}
	return true
}
