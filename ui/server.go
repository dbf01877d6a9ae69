package ui

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Handler serves the web interface. [New] makes one. It may be used from many goroutines at once.
type Handler struct {
	client *omniq.Client
	rights func(*http.Request) Rights
	most   Rights // that anybody has
	prefix string // without a slash at the end
	hosts  []string
	log    *slog.Logger

	serve   http.Handler
	table   []route
	looks   looks
	streams atomic.Int64
	closing sync.Once
	closed  chan struct{}
}

// Bounds of what a request may ask for.
const (
	patience = 5 * time.Second // how long a page waits for the engine
	maxForm  = 64 << 10        // bytes of a form
	maxText  = 1000            // bytes of a text in a URL or a form
)

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve.ServeHTTP(w, r) }

// Close ends the live updates of all pages, and lets no new ones begin. It is for [http.Server.RegisterOnShutdown]: without
// it Shutdown waits for them.
func (h *Handler) Close() { h.closing.Do(func() { close(h.closed) }) }

// route is one thing that can be asked for. Exactly one of page, act and raw is set.
type route struct {
	method string
	path   string
	right  Rights // that is needed, besides View

	page func(*call) (page, error)             // shows something and changes nothing
	act  func(*call) (where string, err error) // changes something, and says where to go on
	raw  func(*call)                           // answers by itself

	shows   string // of an action: the path of the page that shows what it refuses
	maxForm int64  // bytes of its form; 0 for maxForm
}

// routes are all there are. All paths have one element: so links are relative, and hold below every prefix.
func (h *Handler) routes() []route {
	get := func(path string, right Rights, page func(*call) (page, error)) route {
		return route{method: http.MethodGet, path: path, right: right, page: page}
	}
	post := func(path, shows string, right Rights, act func(*call) (string, error)) route {
		return route{method: http.MethodPost, path: path, right: right, act: act, shows: shows}
	}
	enqueue := post("copy", "copy", Edit|Payloads, h.enqueueCopy)
	enqueue.maxForm = 4*maxCopied + maxForm
	return []route{
		get("", View, func(*call) (page, error) { return page{}, moved("queues") }),
		get("queues", View, h.queues),
		get("queue", View, h.queue),
		get("tasks", View, h.tasks),
		get("confirm", Act, h.confirm),
		get("task", View, h.task),
		get("copy", Edit|Payloads, h.copy),
		get("flow", View, h.flow),
		get("schedules", View, h.schedules),
		get("schedule", View, h.schedule),
		get("errors", View, h.errors),
		get("workers", View, h.workers),
		{method: http.MethodGet, path: "events", right: View, raw: h.events},
		{method: http.MethodGet, path: "metrics", right: View, raw: h.metrics},

		post("queue-pause", "queue", Act, h.pauseQueue),
		post("queue-resume", "queue", Act, h.resumeQueue),
		post("queue-limit", "queue", Edit, h.limitQueue),
		post("task-cancel", "task", Act, h.onTask("cancelled", h.client.Cancel)),
		post("task-requeue", "task", Act, h.onTask("requeued", h.client.Requeue)),
		post("task-run", "task", Act, h.onTask("due", h.client.RunNow)),
		post("task-back", "task", Act, h.onTask("back", h.giveBack)),
		post("task-forget", "task", Act, h.forgetTask),
		post("task-free", "task", Act, h.freeKey),
		enqueue,
		{method: http.MethodPost, path: "bulk", right: Act, raw: h.bulk},
		post("flow-cancel", "flow", Act, h.onFlow("cancelled", omniq.Flow.Cancel)),
		post("flow-requeue", "flow", Act, h.onFlow("requeued", omniq.Flow.Requeue)),
		post("flow-retry", "flow", Act, h.onFlow("requeued", omniq.Flow.RequeueFailed)),
		post("schedule-pause", "schedule", Act, h.pauseSchedule),
		post("schedule-resume", "schedule", Act, h.resumeSchedule),
		post("schedule-trigger", "schedule", Act, h.triggerSchedule),
		post("schedule-backfill", "schedule", Act, h.backfillSchedule),
		post("schedule-delete", "schedule", Edit, h.deleteSchedule),
	}
}

// call is one request of somebody.
type call struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	rights Rights
	form   url.Values // of the URL or, of an action, of its body
	live   bool       // it is for a page that is open
	root   string     // what leads from the request's path to that of the interface
}

// secured adds the headers that keep a browser from doing what no page needs.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "same-origin") // with less, a form's Origin would be null
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// dispatch finds what a request asks for, and refuses what is not allowed.
func (h *Handler) dispatch(w http.ResponseWriter, r *http.Request) {
	name, ok := h.below(r)
	switch {
	case !ok: // the prefix without a slash
		w.Header().Set("Location", "./"+url.PathEscape(path.Base(h.mounted(r)))+"/") // relative: what is before it may be stripped
		w.WriteHeader(http.StatusFound)
		return
	case name == "healthz":
		h.healthz(w, r)
		return
	case name == "readyz":
		h.readyz(w, r)
		return
	}
	c := &call{h: h, w: w, r: r, ctx: r.Context(), rights: h.most & h.rights(r), root: strings.Repeat("../", strings.Count(name, "/"))}
	if err := h.admit(c); err != nil {
		c.plain(err)
		return
	}
	if a, ok := assets[name]; ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		a.serve(w, r)
		return
	}
	to, err := h.find(name, r.Method)
	if err == nil && !c.rights.Has(to.right) {
		err = &statusError{http.StatusForbidden, fmt.Sprintf("You have the right to %v here, and this needs %v.", c.rights, to.right)}
	}
	if err != nil {
		c.fail(err)
		return
	}
	h.run(c, to)
}

// mounted is the path under which a browser knows what was asked for, as far as this server does.
func (h *Handler) mounted(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && r.URL.Path == "" {
		return u.Path
	}
	return r.URL.Path
}

// below is the path below the prefix. It is not ok if the path is that of the prefix without its slash.
func (h *Handler) below(r *http.Request) (string, bool) {
	p := r.URL.Path
	if rest, ok := strings.CutPrefix(p, h.prefix); ok && h.prefix != "" && (rest == "" || rest[0] == '/') {
		p = rest
	}
	if p == "" {
		return "", false
	}
	return strings.TrimPrefix(p, "/"), true
}

// admit refuses who must not see anything.
func (h *Handler) admit(c *call) error {
	if !h.knows(c.r.Host) {
		return &statusError{http.StatusMisdirectedRequest,
			"This server does not answer to that host name. Whoever runs it can allow the name: see the option Hosts."}
	}
	if !c.rights.Has(View) {
		return &statusError{http.StatusForbidden, "You may not see this."}
	}
	return nil
}

// knows reports whether a host is one by which the handler is reached.
func (h *Handler) knows(host string) bool {
	name := hostName(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.Contains(h.hosts, name) || slices.Contains(h.hosts, "*")
}

// hostName is a host without its port, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// find returns the route of a path.
func (h *Handler) find(name, method string) (route, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	err := error(&statusError{http.StatusNotFound, "There is no such page."})
	var methods []string
	for _, to := range h.table {
		if to.path != name {
			continue
		}
		if to.method == method {
			return to, nil
		}
		methods = append(methods, to.method)
		err = &methodError{methods}
	}
	return route{}, err
}

// run serves a route.
func (h *Handler) run(c *call, to route) {
	if err := c.read(cmp.Or(to.maxForm, maxForm)); err != nil {
		c.fail(err)
		return
	}
	if to.raw != nil {
		to.raw(c)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	c.ctx = ctx
	if to.page != nil {
		p, err := to.page(c)
		if err != nil {
			c.fail(err)
			return
		}
		c.show(http.StatusOK, p)
		return
	}
	where, err := to.act(c)
	h.looks.forget()
	h.log.LogAttrs(c.ctx, slog.LevelInfo, "ui: "+to.path, slog.String("of", c.form.Get("of")), slog.String("from", c.r.RemoteAddr), logged(err))
	if err != nil {
		h.refuse(c, to, err)
		return
	}
	c.redirect(where)
}

// refuse shows an action's page again, with what was refused.
func (h *Handler) refuse(c *call, to route, refused error) {
	shown, err := h.find(to.shows, http.MethodGet)
	if err != nil || !c.rights.Has(shown.right) {
		c.fail(refused)
		return
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), patience) // that of the action may be over
	defer cancel()
	c.ctx = ctx
	p, err := shown.page(c)
	if err != nil {
		c.fail(refused)
		return
	}
	p.Problem = h.said(c, refused)
	c.show(statusOf(refused), p)
}

// read reads the form, and refuses what is too long.
func (c *call) read(most int64) error {
	if c.r.Method == http.MethodPost {
		c.r.Body = http.MaxBytesReader(c.w, c.r.Body, most)
		if err := c.r.ParseForm(); err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return &statusError{http.StatusRequestEntityTooLarge, fmt.Sprintf("The form has more than %d bytes.", most)}
			}
			return &statusError{http.StatusBadRequest, "The form cannot be read."}
		}
		c.form = c.r.PostForm
		return nil
	}
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil || len(c.r.URL.RawQuery) > maxForm {
		return &statusError{http.StatusBadRequest, "The address cannot be read."}
	}
	c.form = values
	return nil
}

// text is a field of the form.
func (c *call) text(name string) (string, error) {
	s := c.form.Get(name)
	if len(s) > maxText {
		return "", &statusError{http.StatusBadRequest, fmt.Sprintf("The field %s has %d bytes, want at most %d.", name, len(s), maxText)}
	}
	return s, nil
}

// number is a field of the form that is a number: the default if it is not there.
func (c *call) number(name string, least, most, otherwise int) (int, error) {
	s := c.form.Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, &statusError{http.StatusBadRequest, fmt.Sprintf("The field %s is %.20q, want a number from %d to %d.", name, s, least, most)}
	}
	return n, nil
}

// id is the field that says which task or flow it is about.
func (c *call) id() (uuid.UUID, error) {
	id, err := uuid.Parse(c.form.Get("of"))
	if err != nil || id == uuid.Nil {
		return uuid.Nil, &statusError{http.StatusNotFound, fmt.Sprintf("%.50q is no ID.", c.form.Get("of"))}
	}
	return id, nil
}

// statusError is what a page is refused with.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// methodError says by which methods a path can be asked for.
type methodError struct{ methods []string }

func (e *methodError) Error() string { return "This page cannot be asked for in that way." }

// moved is where a page is.
type moved string

func (m moved) Error() string { return "moved to " + string(m) }

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	if _, ok := errors.AsType[*methodError](err); ok {
		return http.StatusMethodNotAllowed
	}
	switch {
	case errors.Is(err, omniq.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, omniq.ErrState), errors.Is(err, omniq.ErrDuplicate):
		return http.StatusConflict
	case errors.Is(err, omniq.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

// explained is what somebody is told of an error.
func explained(err error) string {
	switch statusOf(err) {
	case http.StatusGatewayTimeout:
		return fmt.Sprintf("The engine has not answered within %v. Whether the call was done is unknown.", patience)
	case http.StatusServiceUnavailable:
		if _, own := errors.AsType[*statusError](err); !own {
			return "The engine does not answer: " + withoutSecrets(err.Error())
		}
	}
	return withoutSecrets(err.Error())
}

// said is what somebody is told of an error. What is the engine's own is logged as well.
func (h *Handler) said(c *call, err error) string {
	text := explained(err)
	if statusOf(err) >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		h.log.Error("ui: the engine has failed", "path", c.r.URL.Path, logged(err))
	}
	return text
}

// fail answers with an error.
func (c *call) fail(err error) {
	if to, ok := errors.AsType[moved](err); ok {
		c.redirect(string(to))
		return
	}
	if e, ok := errors.AsType[*methodError](err); ok {
		c.w.Header().Set("Allow", strings.Join(e.methods, ", "))
	}
	c.show(statusOf(err), page{name: "problem", Title: http.StatusText(statusOf(err)), Problem: c.h.said(c, err)})
}

// plain answers with an error those who are not to see a page.
func (c *call) plain(err error) {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.WriteHeader(statusOf(err))
	_, _ = fmt.Fprintln(c.w, err)
}

// redirect sends the browser to another page. The address is relative: the browser alone knows below which prefix it is.
func (c *call) redirect(where string) {
	c.w.Header().Set("Location", "./"+c.root+where)
	c.w.WriteHeader(http.StatusSeeOther)
}

// show answers with a page.
func (c *call) show(status int, p page) {
	p.complete(c)
	var b bytes.Buffer
	if err := render(&b, p.name, "layout", &p); err != nil {
		c.h.log.Error("ui: cannot show a page", "page", p.name, logged(err))
		http.Error(c.w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // who has gone needs no answer
}
