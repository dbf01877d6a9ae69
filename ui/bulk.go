package ui

import (
	"errors"
	"log/slog"
	"net/http"
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
	out := &growing{c: c, control: http.NewResponseController(c.w)}
	out.begin(&p)
	looked := 0
	where, last := q.Where, time.Now()
	q.Where = func(info *omniq.TaskInfo) bool { // is asked about each task in turn
		if where != nil && !where(info) {
			return false
		}
		if looked++; time.Since(last) > progressEvery {
			last = time.Now()
			out.part(&p, "progress", looked)
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
	out.part(&p, "result", map[string]any{"N": n, "Refused": refused, "Failed": err != nil, "Action": action, "Search": s})
	out.part(&p, "bottom", nil)
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
	c       *call
	control *http.ResponseController
}

// begin sends the part above what is to come.
func (g *growing) begin(p *page) {
	_ = g.control.SetWriteDeadline(time.Time{}) // where the server has none, there is none to lift
	_ = g.control.SetReadDeadline(time.Time{})
	head := g.c.w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("X-Accel-Buffering", "no")
	g.part(p, "top", p.Data)
}

// part sends a part. Who has gone gets nothing.
func (g *growing) part(p *page, name string, data any) {
	one := *p
	if data != nil {
		one.Data = data
	}
	if err := render(g.c.w, p.name, name, &one); err != nil {
		g.c.h.log.Debug("ui: cannot send a part of a page", "part", name, logged(err))
	}
	_ = g.control.Flush()
}
