package omniq_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

type traceKey struct{}

// tracedLine is a line of a log, and the trace in the context that it was logged with.
type tracedLine struct {
	message string
	level   slog.Level
	trace   any
	info    omniq.Info // that of the handler in the context
	attrs   map[string]slog.Value
}

// tracedLog is a slog.Handler that keeps all lines.
type tracedLog struct {
	mu    sync.Mutex
	lines []tracedLine
}

func (*tracedLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *tracedLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *tracedLog) WithGroup(string) slog.Handler          { return l }

func (l *tracedLog) Handle(ctx context.Context, r slog.Record) error {
	info, _ := omniq.InfoFrom(ctx)
	line := tracedLine{r.Message, r.Level, ctx.Value(traceKey{}), info, make(map[string]slog.Value)}
	r.Attrs(func(a slog.Attr) bool { line.attrs[a.Key] = a.Value; return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// of returns the lines about a task, in their order.
func (l *tracedLog) of(id uuid.UUID) (lines []tracedLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if task, ok := line.attrs["task"]; ok && task.Any() == id {
			lines = append(lines, line)
		}
	}
	return lines
}

// What is logged of an attempt has its queue, and the context that the middleware has made for its handler; before there is
// one, that of Run.
func TestAttemptsLogWithTheirContext(t *testing.T) {
	traced := omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc {
		return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
			return next(context.WithValue(ctx, traceKey{}, "of "+task.FuncName), task)
		}
	})
	plain := omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc { return next })
	for name, c := range map[string]struct {
		handler func(context.Context) error
		use     omniq.WorkerOption
		with    func(*testing.T, *omniq.Handle[omniq.Void]) // while the handler runs
		message string
		level   slog.Level
		trace   string
	}{
		"success": {noop, traced, nil, "attempt settled", slog.LevelDebug, "of any"},
		"retry":   {func(context.Context) error { return errOops }, traced, nil, "attempt failed", slog.LevelWarn, "of any"},
		"failure": {
			func(context.Context) error { return omniq.Permanent(errOops) }, traced, nil, "task failed", slog.LevelError, "of any",
		},
		"panic":         {func(context.Context) error { panic(errOops) }, traced, nil, "attempt failed", slog.LevelWarn, "of any"},
		"no middleware": {noop, plain, nil, "attempt settled", slog.LevelDebug, "of Run"},
		"cancelled": {
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, traced,
			func(t *testing.T, h *omniq.Handle[omniq.Void]) { require.NoError(t, h.Cancel(t.Context())) },
			"the task was cancelled; the attempt's outcome is dropped", slog.LevelInfo, "of any",
		},
		"abandoned": {
			func(context.Context) error { time.Sleep(time.Hour); return nil }, traced, func(*testing.T, *omniq.Handle[omniq.Void]) {},
			"attempt settled", slog.LevelDebug, "of any",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var log tracedLog
				d := omniq.DefineNoArgsVoid("any", c.handler)
				worker, err := omniq.NewWorker(b, omniq.Handlers(d), c.use, omniq.Queues("mail"), omniq.Logger(slog.New(&log)))
				require.NoError(t, err)
				ctx, stop := context.WithCancel(context.WithValue(context.Background(), traceKey{}, "of Run"))
				done := make(chan error, 1)
				go func() { done <- worker.Run(ctx) }()
				h, err := d.Enqueue(t.Context(), client, omniq.Queue("mail"))
				require.NoError(t, err)
				synctest.Wait()
				if c.with != nil {
					c.with(t, h)
					synctest.Wait()
				}
				stop()
				assert.Equal(t, name == "abandoned", <-done != nil)
				lines := log.of(h.ID())
				require.NotEmpty(t, lines)
				line := lines[0]
				assert.Equal(t, c.message, line.message)
				assert.Equal(t, c.level, line.level)
				assert.Equal(t, c.trace, line.trace)
				assert.Equal(t, h.ID(), line.info.ID)
				assert.Equal(t, "any", line.attrs["func"].String())
				assert.Equal(t, "mail", line.attrs["queue"].String())
				assert.EqualValues(t, 1, line.attrs["attempt"].Int64())
				time.Sleep(2 * time.Hour) // what was abandoned returns
			})
		})
	}
}
