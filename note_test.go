package omniq_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

type copied struct {
	Files int    `json:"files"`
	Last  string `json:"last"`
}

var (
	noteCopied = omniq.Progress[copied]("copied")
	noteLines  = omniq.Progress[[]string]("lines")
	noteCursor = omniq.State[int]("cursor")
	noteSeen   = omniq.State[[]string]("seen")
	noteRows   = omniq.Stream[int]("rows")
	noteTexts  = omniq.Stream[string]("texts")
)

// scribe is a backend whose calls of Note are recorded, and may be in other hands.
type scribe struct {
	omniq.Backend
	without bool // it says that it keeps no notes
	note    func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error)

	mu    sync.Mutex
	calls [][]omniq.LeaseNotes
}

func (s *scribe) Capabilities() omniq.Capabilities {
	caps := s.Backend.Capabilities()
	caps.Notes = caps.Notes && !s.without
	return caps
}

func (s *scribe) Note(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
	s.mu.Lock()
	s.calls = append(s.calls, slices.Clone(notes))
	s.mu.Unlock()
	if s.note != nil {
		return s.note(ctx, notes)
	}
	return s.Backend.Note(ctx, notes)
}

// noted returns how many calls there were, and how many notes were in them.
func (s *scribe) noted() (calls, notes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		notes += len(c)
	}
	return len(s.calls), notes
}

// handle enqueues a task whose handler is f, and runs a worker for it.
func handle(t *testing.T, b omniq.Backend, client *omniq.Client, f func(context.Context) error, opts ...omniq.WorkerOption) *omniq.Handle[omniq.Void] {
	d := omniq.DefineNoArgsVoid("notes.any", f)
	h, err := d.Enqueue(t.Context(), client)
	require.NoError(t, err)
	run(t, b, append([]omniq.WorkerOption{omniq.Handlers(d)}, opts...)...)
	return h
}

// leaveAll does everything that leaves something of a task, and returns what each call did.
func leaveAll(ctx context.Context) map[string]error {
	_, _, err := noteCursor.Load(ctx)
	return map[string]error{
		"Set": noteCopied.Set(ctx, copied{7, "late"}), "Save": noteCursor.Save(ctx, 7), "Load": err, "Send": noteRows.Send(ctx, 7),
	}
}

// assertNothing asserts that nothing is left of a task.
func assertNothing(t *testing.T, client *omniq.Client, h *omniq.Handle[omniq.Void]) {
	info, err := client.Inspect(t.Context(), h.ID())
	require.NoError(t, err)
	assert.Nil(t, info.Progress)
	assert.Nil(t, info.State)
}

// What cannot count is refused at once, each call of each kind, and creates nothing.
func TestNotesThatAreRefused(t *testing.T) {
	waits := func(ctx context.Context) { <-ctx.Done() }
	for name, c := range map[string]struct {
		before  func(context.Context) // before the calls, in the handler
		with    func(*testing.T, *omniq.Client, *omniq.Handle[omniq.Void])
		backend func(*memory.Backend) omniq.Backend
		worker  []omniq.WorkerOption
		context func(context.Context) context.Context // of the calls
		late    bool                                  // the calls are made after the end
		want    error
		text    string
	}{
		"no handler's context": {
			context: func(context.Context) context.Context { return context.Background() },
			want:    omniq.ErrInvalid, text: "not that of a handler in a worker",
		},
		"a context for a test of a handler": {
			context: func(context.Context) context.Context {
				return omniq.ContextWithInfo(context.Background(), omniq.Info{ID: uuid.New()})
			},
			want: omniq.ErrInvalid, text: "not that of a handler in a worker",
		},
		"an engine without notes": {
			backend: func(b *memory.Backend) omniq.Backend { return &scribe{Backend: b, without: true} },
			want:    omniq.ErrInvalid, text: `the engine "memory" keeps no progress, state and streams`,
		},
		"after the end": {late: true, want: omniq.ErrInvalid, text: "has ended already"},
		"cancelled": {
			before: waits,
			with: func(t *testing.T, _ *omniq.Client, h *omniq.Handle[omniq.Void]) {
				require.NoError(t, h.Cancel(t.Context()))
			},
			want: omniq.ErrCancelled,
		},
		"the lease is lost": {
			before: waits,
			backend: func(b *memory.Backend) omniq.Backend {
				return &meddler{Backend: b, extend: func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error) {
					return []error{omniq.ErrLeaseLost}, nil
				}}
			},
			worker: []omniq.WorkerOption{omniq.LeaseDuration(3 * time.Second)},
			want:   omniq.ErrLeaseLost,
		},
		"the worker has given it up": {
			before: func(context.Context) { time.Sleep(time.Hour) },
			with: func(t *testing.T, _ *omniq.Client, _ *omniq.Handle[omniq.Void]) {
				time.Sleep(2 * time.Hour)
			},
			worker: []omniq.WorkerOption{omniq.ShutdownTimeout(time.Second)},
			want:   omniq.ErrInvalid, text: "has ended already",
		},
	} {
		for _, before := range []bool{false, true} { // whether something was left before: then the attempt has a place for it
			if before && (c.context != nil || name == "an engine without notes") {
				continue
			}
			t.Run(name+map[bool]string{true: ", after others"}[before], func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					m, client := newMemory(t)
					b := omniq.Backend(m)
					if c.backend != nil {
						b = c.backend(m)
					}
					var got map[string]error
					var ctx context.Context
					ended := make(chan struct{})
					d := omniq.DefineNoArgsVoid("notes.refused", func(own context.Context) error {
						if info, _ := omniq.InfoFrom(own); info.Attempt > 1 {
							return nil
						}
						ctx = own
						if before {
							_, _, err := noteCursor.Load(own)
							assert.NoError(t, err)
						}
						if c.before != nil {
							c.before(own)
						}
						if c.context != nil {
							ctx = c.context(own)
						}
						if !c.late {
							got = leaveAll(ctx)
						}
						close(ended)
						return nil
					}, omniq.Retries(0))
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					w := run(t, b, append([]omniq.WorkerOption{omniq.Handlers(d)}, c.worker...)...)
					synctest.Wait()
					if len(c.worker) > 0 && c.with != nil {
						require.Error(t, w.stop())
					}
					if c.with != nil {
						c.with(t, client, h)
					}
					<-ended
					if c.late {
						_, err := h.Wait(t.Context())
						require.NoError(t, err)
						got = leaveAll(ctx)
					}
					for _, call := range slices.Sorted(maps.Keys(got)) {
						require.ErrorIs(t, got[call], c.want, call)
						assert.ErrorContains(t, got[call], c.text, call)
					}
					time.Sleep(time.Second)
					assertNothing(t, client, h)
					page, err := m.Stream(t.Context(), omniq.StreamRequest{TaskID: h.ID(), Name: "rows", Max: 1})
					require.NoError(t, err)
					assert.Empty(t, page.Items)
				})
			})
		}
	}
}

// The engine knows first that a lease is lost: the handler's context ends, and its outcome is dropped.
func TestEngineRefusesNotes(t *testing.T) {
	for name, leave := range map[string]func(context.Context) error{
		"Save": func(ctx context.Context) error { return noteCursor.Save(ctx, 1) },
		"Send": func(ctx context.Context) error { return noteRows.Send(ctx, 1) },
		"Set": func(ctx context.Context) error {
			err := noteCopied.Set(ctx, copied{})
			time.Sleep(time.Second)
			return errors.Join(err, noteCopied.Set(ctx, copied{}))
		},
	} {
		for _, why := range []error{omniq.ErrLeaseLost, omniq.ErrCancelled} {
			t.Run(name+" "+why.Error(), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					m, client := newMemory(t)
					b := &scribe{Backend: m, note: func(_ context.Context, notes []omniq.LeaseNotes) ([]error, error) {
						return []error{why}, nil
					}}
					var l ledger
					handle(t, b, client, func(ctx context.Context) error {
						require.ErrorIs(t, leave(ctx), why)
						require.ErrorIs(t, context.Cause(ctx), why)
						require.ErrorIs(t, noteCursor.Save(ctx, 2), why)
						return nil
					}, l.option())
					synctest.Wait()
					time.Sleep(2 * time.Second)
					want := omniq.OutcomeLost
					if errors.Is(why, omniq.ErrCancelled) {
						want = omniq.OutcomeCancelled
					}
					require.Len(t, l.settled(), 1)
					assert.Equal(t, want, l.settled()[0].Outcome)
					calls, _ := b.noted()
					assert.Equal(t, 1, calls)
				})
			})
		}
	}
}

// A name or a type that cannot be is told where it is declared.
func TestNotesThatCannotBeDeclared(t *testing.T) {
	type deaf struct{ C chan int }
	for want, declare := range map[string]func(){
		`omniq: progress "": omniq: invalid: the name is empty, want 1 to`: func() { omniq.Progress[int]("") },
		`omniq: state " a": omniq: invalid: the name " a" has ' '`:         func() { omniq.State[int](" a") },
		`omniq: stream "a\n": omniq: invalid: the name "a\n"`:              func() { omniq.Stream[int]("a\n") },
		`the name "\xff" is not UTF-8`:                                     func() { omniq.Stream[int]("\xff") },
		`bytes, want at most`:                                              func() { omniq.State[int](strings.Repeat("a", omniq.MaxNameLen+1)) },
		`omniq: progress "p": omniq: invalid: value type chan int`:         func() { omniq.Progress[chan int]("p") },
		`omniq: state "s": omniq: invalid: value type func()`:              func() { omniq.State[func()]("s") },
		`C is of type chan int, which has no form in JSON`:                 func() { omniq.Stream[deaf]("s") },
		`value type error`: func() { omniq.Stream[error]("s") },
	} {
		t.Run(want, func(t *testing.T) {
			defer func() { assert.Contains(t, recover(), want) }()
			declare()
			t.Error("nothing was said")
		})
	}
}

// A key that was not declared, no handle and no client are told by each call.
func TestNotesOfNothing(t *testing.T) {
	_, client := newMemory(t)
	h := omniq.ReferNoArgs[int]("any").Attach(client, uuid.New())
	bare := newClient(t, &scribe{Backend: memory.New(), without: true})
	of := func(h omniq.Handled) map[string]error {
		errs := map[string]error{}
		_, _, errs["Of"] = noteCopied.Of(t.Context(), h)
		for _, err := range noteCopied.Follow(t.Context(), h) {
			errs["Follow"] = err
		}
		for _, err := range noteRows.Of(t.Context(), h) {
			errs["Stream"] = err
		}
		return errs
	}
	var none *omniq.Handle[int]
	for name, c := range map[string]struct {
		handle omniq.Handled
		want   error
		text   string
	}{
		"no handle":               {nil, omniq.ErrInvalid, "the handle is nil"},
		"a nil handle":            {none, omniq.ErrInvalid, "the handle is nil"},
		"an empty handle":         {new(omniq.Handle[int]), omniq.ErrInvalid, "the client is nil or empty"},
		"an unknown task":         {h, omniq.ErrNotFound, ""},
		"an engine without notes": {omniq.ReferNoArgs[int]("any").Attach(bare, uuid.New()), omniq.ErrInvalid, "keeps no progress"},
	} {
		t.Run(name, func(t *testing.T) {
			for call, err := range of(c.handle) {
				require.ErrorIs(t, err, c.want, call)
				assert.ErrorContains(t, err, c.text, call)
			}
			assert.Len(t, of(c.handle), 3)
		})
	}
	var progress omniq.ProgressKey[int]
	var state omniq.StateKey[int]
	var stream omniq.StreamKey[int]
	_, _, of1 := progress.Of(t.Context(), h)
	_, _, load := state.Load(t.Context())
	for _, err := range []error{of1, load, progress.Set(t.Context(), 1), state.Save(t.Context(), 1), stream.Send(t.Context(), 1)} {
		require.ErrorIs(t, err, omniq.ErrInvalid)
		assert.ErrorContains(t, err, "has not made")
	}
	for _, err := range stream.Of(t.Context(), h) {
		require.ErrorIs(t, err, omniq.ErrInvalid)
	}
}

// What is too large or cannot be encoded is refused where it is left, and what was there stays.
func TestNotesThatDoNotFit(t *testing.T) {
	var deep any = 1
	for range 511 {
		deep = []any{deep}
	}
	anyProgress, anyState, anyStream := omniq.Progress[any]("copied"), omniq.State[any]("cursor"), omniq.Stream[any]("rows")
	for name, c := range map[string]struct {
		value any
		text  string
	}{
		"too large":             {strings.Repeat("a", omniq.MaxNotes), "bytes, want at most 1048576"},
		"deep":                  {[]any{deep}, "more arrays and objects inside each other than allowed"},
		"no JSON":               {make(chan int), "chan int"},
		"a text that is no one": {"\xff", "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				h := handle(t, b, client, func(ctx context.Context) error {
					require.NoError(t, errors.Join(noteCopied.Set(ctx, copied{1, "a"}), noteCursor.Save(ctx, 1), noteRows.Send(ctx, 1)))
					for _, err := range []error{anyProgress.Set(ctx, c.value), anyState.Save(ctx, c.value), anyStream.Send(ctx, 2, c.value)} {
						require.ErrorIs(t, err, omniq.ErrInvalid)
						assert.ErrorContains(t, err, c.text)
					}
					n, ok, err := noteCursor.Load(ctx)
					require.NoError(t, err)
					assert.True(t, ok)
					assert.Equal(t, 1, n)
					return omniq.Permanent(errOops)
				})
				_, err := h.Wait(t.Context())
				require.ErrorContains(t, err, "oops")
				info, err := client.Inspect(t.Context(), h.ID())
				require.NoError(t, err)
				assert.JSONEq(t, `{"copied":{"files":1,"last":"a"}}`, string(info.Progress))
				assert.JSONEq(t, `{"cursor":1}`, string(info.State))
				assert.Equal(t, []int{1}, collect(t, noteRows, h))
			})
		})
	}
}

// Of the largest and the deepest values that are taken none is refused by the engine, with the end of the attempt either.
func TestNotesThatJustFit(t *testing.T) {
	nested := func(depth int) any {
		var v any = 1
		for range depth {
			v = []any{v}
		}
		return v
	}
	anyProgress, anyState, anyStream := omniq.Progress[any]("p"), omniq.State[any]("s"), omniq.Stream[any]("t")
	for name, c := range map[string]struct{ member, item any }{
		"deep":  {nested(510), nested(511)},
		"large": {strings.Repeat("a", omniq.MaxNotes-len(`{"p":""}`)), strings.Repeat("a", omniq.MaxNotes-len(`""`))},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				h := handle(t, b, client, func(ctx context.Context) error {
					return errors.Join(anyState.Save(ctx, c.member), anyStream.Send(ctx, c.item), anyProgress.Set(ctx, c.member))
				})
				_, err := h.Wait(t.Context())
				require.NoError(t, err)
				v, ok, err := anyProgress.Of(t.Context(), h)
				require.NoError(t, err)
				require.True(t, ok)
				_, text := v.(string)
				assert.Equal(t, name == "large", text)
			})
		})
	}
}
