package ui

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// Bounds of what is shown of schedules.
const (
	maxSchedules = 1000
	shownTicks   = 5
	maxPast      = 10 * 366 * 24 * time.Hour // that a backfill goes back, and forth
)

// seenSchedules are the schedules that there are.
type seenSchedules struct {
	All  []*omniq.ScheduleInfo
	Bad  []string // what is wrong with those that cannot be read
	More bool
}

func (h *Handler) allSchedules(ctx context.Context) (*seenSchedules, error) {
	seen := &seenSchedules{}
	for info, err := range h.client.Schedules(ctx) {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && info == nil && len(seen.All) == 0 && statusOf(err) == http.StatusServiceUnavailable:
			return nil, err
		case err != nil:
			seen.Bad = append(seen.Bad, withoutSecrets(err.Error()))
		default:
			seen.All = append(seen.All, info)
		}
		if len(seen.All)+len(seen.Bad) == maxSchedules {
			seen.More = true
			break
		}
	}
	slices.SortFunc(seen.All, func(a, b *omniq.ScheduleInfo) int { return strings.Compare(a.Name, b.Name) })
	return seen, nil
}

func (h *Handler) schedules(c *call) (page, error) {
	seen, err := see(c, "schedules", h.allSchedules)
	if err != nil {
		return page{}, err
	}
	return page{name: "schedules", Title: "Schedules", Data: seen}, nil
}

func (h *Handler) schedule(c *call) (page, error) {
	name, err := c.name("schedule")
	if err != nil {
		return page{}, err
	}
	info, err := see(c, "schedule "+name, h.client.Schedule(name).Describe)
	if errors.Is(err, omniq.ErrNotFound) {
		return page{}, &statusError{http.StatusNotFound, "There is no such schedule."}
	}
	if err != nil {
		return page{}, err
	}
	data := map[string]any{
		"Info": info, "Next": info.Next(shownTicks), "From": c.form.Get("from"), "Until": c.form.Get("until"),
	}
	return page{name: "schedule", Title: "Schedule " + name, Data: data}, nil
}

// onSchedule does something with the schedule that a form names.
func (h *Handler) onSchedule(c *call, done string, do func(*omniq.ScheduleHandle[omniq.Raw]) error) (string, error) {
	name, err := c.name("schedule")
	if err == nil {
		err = do(h.client.Schedule(name))
	}
	return address("schedule", "of", name, "done", done), err
}

func (h *Handler) pauseSchedule(c *call) (string, error) {
	note, err := c.text("note")
	if err != nil {
		return "", err
	}
	return h.onSchedule(c, "paused", func(s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Pause(c.ctx, note) })
}

func (h *Handler) resumeSchedule(c *call) (string, error) {
	return h.onSchedule(c, "resumed", func(s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Resume(c.ctx) })
}

// triggerTime is how long a trigger waits for the worker that starts the run.
const triggerTime = 2 * time.Second

func (h *Handler) triggerSchedule(c *call) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, triggerTime)
	defer cancel()
	done := "triggered"
	_, err := h.onSchedule(c, "", func(s *omniq.ScheduleHandle[omniq.Raw]) error {
		run, err := s.Trigger(ctx)
		if run != nil && errors.Is(err, context.DeadlineExceeded) { // it will begin
			done, err = "ordered", nil
		}
		return err
	})
	return address("schedule", "of", c.form.Get("of"), "done", done), err
}

func (h *Handler) backfillSchedule(c *call) (string, error) {
	from, err := c.time("from")
	if err != nil {
		return "", err
	}
	until, err := c.time("until")
	if err != nil {
		return "", err
	}
	return h.onSchedule(c, "backfilled", func(s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Backfill(c.ctx, from, until) })
}

// time is a field of the form that is a time in UTC. What cannot be read is refused.
func (c *call) time(name string) (time.Time, error) {
	text := strings.TrimSpace(c.form.Get(name))
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			if d := time.Since(t); d > maxPast || d < -maxPast {
				break
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, &statusError{http.StatusBadRequest, "The field " + name + " is no time like 2026-03-29 02:30 within ten years."}
}

func (h *Handler) deleteSchedule(c *call) (string, error) {
	_, err := h.onSchedule(c, "", func(s *omniq.ScheduleHandle[omniq.Raw]) error { return s.Delete(c.ctx) })
	return address("schedules", "done", "deleted"), err
}
