package ui

import (
	"bytes"
	"errors"
	"log/slog"
	"time"

	"github.com/omniq-go/omniq"
)

// progressEvery is how often a bulk action says how far it has come.
const progressEvery = 500 * time.Millisecond

// bulk does something with all tasks of a search. It takes as long as it takes, and the page grows meanwhile: who leaves it ends it.
func (h *Handler) bulk(c *call) {
	action, s, q, err := h.bulkQuery(c)
	if err != nil {
		c.fail(err)
		return
	}
	p := page{name: "bulk", Title: action.Verb + " tasks", Static: true, Data: map[string]any{"Action": action, "Search": s}}
	p.complete(c)
	out := &growing{c, c.lasting("text/html; charset=utf-8"), &p}
	out.part("top", nil)
	looked := 0
	where, last := q.Where, time.Now()
	q.Where = func(info *omniq.TaskInfo) bool { // is asked about each task in turn
		if where != nil && !where(info) {
			return false
		}
		if looked++; time.Since(last) > progressEvery {
			last = time.Now()
			out.part("progress", looked)
		}
		return true
	}
	n, err := action.do(h.client, c.ctx, q)
	h.looks.forget()
	h.log.LogAttrs(c.ctx, slog.LevelInfo, "ui: bulk "+action.Name, slog.String("q", s.Typed), slog.String("type", s.Type),
		slog.String("message", s.Message), slog.Int("tasks", n), slog.String("from", c.r.RemoteAddr), logged(err))
	refused := refusals(err)
	if _, only := err.(*omniq.BulkError); only {
		err = nil
	}
	if err != nil {
		p.Problem = h.said(c, engineError(err))
	}
	out.part("result", map[string]any{"N": n, "Refused": refused, "Failed": err != nil, "Action": action, "Search": s})
	out.part("bottom", nil)
}

// engineError is the part of a bulk action's error that is not about single tasks.
func engineError(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, one := range joined.Unwrap() {
			if _, bulk := one.(*omniq.BulkError); !bulk {
				rest = append(rest, one)
			}
		}
		return errors.Join(rest...)
	}
	return err
}

// growing is a page of which parts are sent when they are known.
type growing struct {
	c    *call
	out  *lasting
	page *page
}

// part sends a part. Who has gone gets nothing.
func (g *growing) part(name string, data any) {
	one := *g.page
	if data != nil {
		one.Data = data
	}
	var b bytes.Buffer
	err := render(&b, one.name, name, &one)
	if err == nil {
		err = g.out.send(b.Bytes())
	}
	if err != nil {
		g.c.h.log.Debug("ui: cannot send a part of a page", "part", name, logged(err))
	}
}
