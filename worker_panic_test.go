package omniq_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// nilError is an error whose method needs what a nil pointer does not have.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// badText is an error that the wire cannot hold as it is.
type badText struct{}

func (badText) Error() string { return "bad \xff text" }

func (badText) ErrorType() string { return "type \xff" }

var nilMap map[string]int

// What a handler does instead of returning is a failed attempt, and its place and its worker go on.
func TestPanicIsAFailedAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		handler func() error
		message string
		stack   bool
	}{
		"text":           {func() error { panic("oh no") }, "panic: oh no", true},
		"error":          {func() error { panic(errOops) }, "panic: oops", true},
		"nil":            {func() error { panic(nil) }, "panic called with nil argument", true}, //nolint:govet // on purpose
		"nil map":        {func() error { nilMap["a"] = 1; return nil }, "assignment to entry in nil map", true},
		"bad text":       {func() error { panic("\xff") }, "panic: \uFFFD", true},
		"panicking text": {func() error { panic(&nilError{}) }, "panic: ", true},
		"index":          {func() error { var s []int; _ = s[len(s)]; return nil }, "index out of range", true},
		"Goexit":         {func() error { runtime.Goexit(); return nil }, "the handler ended its goroutine", true},
		"nil error":      {func() error { var e *nilError; return e }, "nil pointer dereference", true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				d := omniq.DefineNoArgsVoid("panic", func(context.Context) error { return c.handler() })
				fine := omniq.DefineNoArgsVoid("fine", noop)
				run(t, b, omniq.Handlers(d, fine), omniq.Concurrency(1), omniq.Retries(2))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				start := time.Now()
				_, err = h.Wait(t.Context())
				e := taskError(t, err)
				assert.Equal(t, "omniq.Panic", e.Type)
				assert.Contains(t, e.Message, c.message)
				if c.stack {
					assert.Contains(t, e.Stack, "worker_panic_test.go")
				}
				assert.True(t, e.Retryable)
				assert.GreaterOrEqual(t, time.Since(start), 2*time.Second)
				assert.Equal(t, 3, attempts(t, client, h.ID()))

				hf, err := fine.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, err = hf.Wait(t.Context())
				require.NoError(t, err)
			})
		})
	}
}

func TestPanickingBackoff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(failUntil(2, errOops))
		run(t, b, omniq.Handlers(f), omniq.RetryDelays(func(omniq.Failure) time.Duration { panic("backoff") }, 0))
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		attempt, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, attempt)
	})
}

// What a handler says of itself must fit the wire, or no engine could store it.
func TestErrorTextsFitTheWire(t *testing.T) {
	for name, err := range map[string]error{
		"an error":     badText{},
		"a task error": &omniq.TaskError{Type: "\xff", Message: "\xff", Stack: "\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				f := newFailer(func(int) error { return omniq.Permanent(err) })
				run(t, b, omniq.Handlers(f))
				h, err := f.Enqueue(t.Context(), client)
				require.NoError(t, err)
				raw, err := client.Wait(t.Context(), h.ID())
				require.NoError(t, err)
				_, err = raw.MarshalJSON()
				require.NoError(t, err)
				assert.Contains(t, raw.Error.Message, "\uFFFD")
				assert.Contains(t, raw.Error.Type, "\uFFFD")
			})
		})
	}
}

func TestUndecodablePayloadFailsForGood(t *testing.T) {
	type kwargs struct{ Loud bool }
	ran := false
	d := omniq.Define("typed", func(context.Context, omniq.Args2[string, int], kwargs) (int, error) {
		ran = true
		return 0, nil
	})
	for name, c := range map[string]struct{ args, kwargs, want string }{
		"wrong type":    {`["a","b"]`, `{}`, "[1] (V2)"},
		"too few":       {`["a"]`, `{}`, "1 elements, want 2"},
		"too many":      {`["a",1,2]`, `{}`, "3 elements, want 2"},
		"null":          {`["a",null]`, `{}`, "null, want a value of type int"},
		"unknown":       {`["a",1]`, `{"Quiet":true}`, `unknown keyword "Quiet"`},
		"wrong keyword": {`["a",1]`, `{"Loud":3}`, "kwargs"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				run(t, b, omniq.Handlers(d))
				id := uuid.New()
				require.NoError(t, client.Enqueue(t.Context(), omniq.RawTask{
					ID: id, FuncName: "typed", Args: omniq.Raw(c.args), Kwargs: omniq.Raw(c.kwargs), CreatedAt: time.Now(),
				}))
				_, err := d.Attach(client, id).Wait(t.Context())
				e := taskError(t, err)
				assert.Equal(t, "omniq.Decode", e.Type)
				assert.Contains(t, e.Message, c.want)
				assert.False(t, e.Retryable)
				assert.Equal(t, 1, attempts(t, client, id))
				assert.False(t, ran)
			})
		})
	}
}

func TestResultThatCannotBeEncodedFailsForGood(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		nan := omniq.DefineNoArgs("nan", func(context.Context) (float64, error) { return math.NaN(), nil })
		bytes := omniq.DefineNoArgs("bytes", func(context.Context) (string, error) { return strings.Repeat("x", 17<<20), nil })
		run(t, b, omniq.Handlers(nan, bytes))
		h, err := nan.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		e := taskError(t, err)
		assert.Equal(t, "omniq.Encode", e.Type)
		assert.Contains(t, e.Message, "float64")
		assert.False(t, e.Retryable)
		assert.Equal(t, 1, attempts(t, client, h.ID()))

		large, err := bytes.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = large.Wait(t.Context())
		assert.Equal(t, "omniq.Encode", taskError(t, err).Type)
	})
}

type payload struct{ A int }

func (payload) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

func (*payload) UnmarshalJSON([]byte) error { panic("in UnmarshalJSON") }

func TestPanicInACodecMethod(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		read := omniq.DefineArgsVoid("read", func(context.Context, omniq.Args1[payload]) error { return nil })
		write := omniq.DefineNoArgs("write", func(context.Context) (payload, error) { return payload{}, nil })
		run(t, b, omniq.Handlers(read, write), omniq.Retries(0))
		id := uuid.New()
		require.NoError(t, client.Enqueue(t.Context(), omniq.RawTask{
			ID: id, FuncName: "read", Args: omniq.Raw("[1]"), CreatedAt: time.Now(),
		}))
		_, err := read.Attach(client, id).Wait(t.Context())
		assert.Contains(t, taskError(t, err).Message, "in UnmarshalJSON")
		h, err := write.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		assert.Contains(t, taskError(t, err).Message, "in MarshalJSON")
	})
}

// An error of another task that a handler passes on keeps its type, so that callers far away can tell.
func TestTaskErrorPassesThrough(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		inner := newFailer(func(int) error { return omniq.Permanent(errors.New("inner")) })
		outer := omniq.DefineNoArgs("outer", func(ctx context.Context) (int, error) {
			h, err := inner.Enqueue(ctx, client)
			if err != nil {
				return 0, err
			}
			return h.Wait(ctx)
		})
		run(t, b, omniq.Handlers(inner, outer))
		h, err := outer.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		assert.Equal(t, &omniq.TaskError{Type: "error", Message: "inner"}, taskError(t, err))
	})
}
