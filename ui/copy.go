package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// uncopyable is why a task cannot be enqueued again with other arguments, or empty.
func uncopyable(info *omniq.TaskInfo) string {
	switch t := info.Task; {
	case t == nil:
		return "its arguments are not kept: it has succeeded, and was enqueued without KeepTask"
	case info.Queue == omniq.ScheduleQueue:
		return "it is a schedule"
	case t.Codec != "":
		return fmt.Sprintf("its arguments were written by codec %s, and are not shown", t.Codec)
	case t.Input != "":
		return "its arguments are made of the results of other tasks"
	case t.Manual:
		return "it is a signal"
	case len(t.Args)+len(t.Kwargs) > maxCopied:
		return fmt.Sprintf("its arguments have more than %s bytes", count(maxCopied))
	}
	return ""
}

// copyForm is the form of a copy: what the task has, or what somebody has typed.
type copyForm struct {
	Args, Kwargs, Queue, Lane, Priority, Delay string
}

func (h *Handler) copy(c *call) (page, error) {
	id, err := c.id()
	if err != nil {
		return page{}, err
	}
	info, err := h.original(c.ctx, id)
	if err != nil {
		return page{}, err
	}
	t := info.Task
	form := copyForm{string(t.Args), string(t.Kwargs), info.Queue, t.Lane, fmt.Sprint(t.Priority), ""}
	if c.r.Method == http.MethodPost { // it was refused, and what was typed is to be mended
		form = typedCopy(c)
	}
	return page{name: "copy", Title: "Copy of " + info.FuncName, Static: true, Data: map[string]any{"Info": info, "Form": form}}, nil
}

func typedCopy(c *call) copyForm {
	get := c.form.Get
	return copyForm{get("args"), get("kwargs"), get("queue"), get("lane"), get("priority"), get("delay")}
}

// original is the task that is to be copied.
func (h *Handler) original(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	info, err := h.client.Inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	if why := uncopyable(info); why != "" {
		return nil, fmt.Errorf("%w: it cannot be copied: %s", omniq.ErrState, why)
	}
	return info, nil
}

// enqueueCopy enqueues a task like another one, with what was typed. Its key, its flow and what it waited for are not the copy's.
func (h *Handler) enqueueCopy(c *call) (string, error) {
	id, err := c.id()
	if err != nil {
		return "", err
	}
	info, err := h.original(c.ctx, id)
	if err != nil {
		return "", err
	}
	opts, err := copyOptions(c, info.Task)
	if err != nil {
		return "", err
	}
	form := typedCopy(c)
	args, kwargs, err := typedPayload(form)
	if err != nil {
		return "", err
	}
	t, err := omniq.NewTask(info.FuncName, args, kwargs, opts...)
	if err != nil {
		return "", err
	}
	return address("task", "of", t.ID.String(), "done", "enqueued"), h.client.Enqueue(c.ctx, t)
}

// typedPayload is the arguments that were typed. They are JSON of the right kind, or nothing is enqueued.
func typedPayload(form copyForm) (args, kwargs omniq.Raw, err error) {
	for _, part := range []struct {
		name, text string
		open       byte
		to         *omniq.Raw
	}{{"arguments", form.Args, '[', &args}, {"keyword arguments", form.Kwargs, '{', &kwargs}} {
		text := bytes.TrimSpace([]byte(part.text))
		if !json.Valid(text) || text[0] != part.open {
			return nil, nil, &statusError{http.StatusBadRequest, fmt.Sprintf("The %s are no JSON that begins with %c.", part.name, part.open)}
		}
		*part.to = text
	}
	return args, kwargs, nil
}

// copyOptions are those of the original, but for what was typed. What cannot be read is refused: a delay that is dropped would
// run the task at once.
func copyOptions(c *call, t *omniq.RawTask) ([]omniq.TaskOption, error) {
	priority, err := c.number("priority", -1_000_000_000, 1_000_000_000, 0)
	if err != nil {
		return nil, err
	}
	opts := []omniq.TaskOption{omniq.Priority(priority)}
	add := func(set bool, o omniq.TaskOption) {
		if set {
			opts = append(opts, o)
		}
	}
	queue, lane := strings.TrimSpace(c.form.Get("queue")), strings.TrimSpace(c.form.Get("lane"))
	if queue == omniq.ScheduleQueue {
		return nil, &statusError{http.StatusBadRequest, "The queue is that of schedules, and takes no other tasks."}
	}
	add(queue != "", omniq.Queue(queue))
	add(lane != "", omniq.Lane(lane))
	if text := strings.TrimSpace(c.form.Get("delay")); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > 10*365*24*time.Hour {
			return nil, &statusError{http.StatusBadRequest, fmt.Sprintf("The delay is %.40q, want something like 90s, 15m or 2h.", text)}
		}
		add(d > 0, omniq.Delay(d.Truncate(time.Microsecond)))
	}
	add(t.MaxAttempts > 0, omniq.Retries(t.MaxAttempts-1))
	add(t.Timeout > 0, omniq.Timeout(t.Timeout))
	for _, m := range metadata(t) {
		add(true, omniq.Metadata(m.Name, m.Value))
	}
	if t.TTL != nil {
		add(*t.TTL > 0, omniq.TTL(*t.TTL))
	}
	if t.ResultTTL != nil {
		add(true, omniq.ResultTTL(*t.ResultTTL))
	}
	if t.FailureTTL != nil {
		add(true, omniq.FailureTTL(*t.FailureTTL))
	}
	add(t.KeepTask, omniq.KeepTask())
	return opts, nil
}
