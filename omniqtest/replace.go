package omniqtest

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Returns lets tasks of a definition or a reference have this result: nobody calls their function, which the worker need not
// have. Their arguments are not looked at, and must fit all the same. It is an option of [Run], [RunFlow] and [Queue.Drain]. Of two
// for one task the first holds.
func Returns[A, K, R any](ref Reference[A, K, R], result R) omniq.WorkerOption {
	return replace(ref, func(id uuid.UUID) (omniq.RawResult, error) {
		r, err := omniq.NewSuccess(id, result)
		if err != nil {
			return omniq.RawResult{}, err
		}
		return r.Encode(nil)
	})
}

// Fails lets tasks of a definition or a reference fail with this error, as if their function had returned it: they are tried again
// unless it is [omniq.Permanent]. Otherwise it is as [Returns].
func Fails[A, K, R any](ref Reference[A, K, R], err error) omniq.WorkerOption {
	return replace(ref, func(uuid.UUID) (omniq.RawResult, error) { return omniq.RawResult{}, err })
}

// Sends sends each of the signals that is waited for this value, as soon as that is so. It is an option of [Run], [RunFlow] and
// [Queue.Drain].
func Sends[R any](s omniq.Signal[R], value R) omniq.WorkerOption {
	return &replacement{WorkerOption: omniq.Use(), signal: s.Name(), send: func(q *Queue) error {
		ctx := context.Background()
		for info, err := range q.Client.List(ctx, omniq.StatusWaiting, "") {
			if err != nil {
				return err
			}
			if info.FuncName != s.Name() || !info.Task.Manual {
				continue
			}
			if err := s.Send(ctx, q.Client, info.ID, value); err != nil {
				return err
			}
		}
		return nil
	}}
}

// replacement is an option that stands in place of something.
type replacement struct {
	omniq.WorkerOption
	handler omniq.Handler        // for a worker that has none of this name
	signal  string               // which send sends
	send    func(q *Queue) error // nil for none
}

// sends reports whether one of the options sends this signal.
func sends(opts []omniq.WorkerOption, signal string) bool {
	return slices.ContainsFunc(opts, func(o omniq.WorkerOption) bool {
		r, ok := o.(*replacement)
		return ok && r.send != nil && r.signal == signal
	})
}

func replace[A, K, R any](ref Reference[A, K, R], result func(id uuid.UUID) (omniq.RawResult, error)) *replacement {
	name := ref.Name()
	return &replacement{
		handler: omniq.Define(name, func(context.Context, A, K) (r R, err error) { return r, nil }),
		WorkerOption: omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc {
			return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
				if task.FuncName == name {
					return result(task.ID)
				}
				return next(ctx, task)
			}
		}),
	}
}

// complete adds the handlers of replacements to the options, for tasks of which they have none.
func complete(b omniq.Backend, opts []omniq.WorkerOption) []omniq.WorkerOption {
	for _, o := range opts {
		r, ok := o.(*replacement)
		if !ok || r.handler == nil {
			continue
		}
		more := append(opts[:len(opts):len(opts)], omniq.Handlers(r.handler))
		if _, err := omniq.NewWorker(b, more...); err == nil { // else there is one, or another option is invalid, which is told later
			opts = more
		}
	}
	return opts
}

// send sends the signals of replacements that are waited for.
func (q *Queue) send(opts []omniq.WorkerOption) {
	q.t.Helper()
	for _, o := range opts {
		if r, ok := o.(*replacement); ok && r.send != nil {
			if err := r.send(q); err != nil {
				q.t.Fatalf("omniqtest: %v", err)
			}
		}
	}
}
