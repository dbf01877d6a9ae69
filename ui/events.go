package ui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of live updates.
const (
	maxStreams  = 200 // at once
	streamEvery = freshLive
	streamAlive = 15 * time.Second // after which a comment tells proxies that it goes on
)

// events sends the main part of a page each time that it has changed: server-sent events. A page that is open in many tabs is
// made for each, of one look at the engine. The rights are asked for each time: who has lost them gets no more.
func (h *Handler) events(c *call) {
	to, query, err := h.followed(c)
	if err != nil {
		c.fail(err)
		return
	}
	if h.streams.Add(1) > maxStreams {
		h.streams.Add(-1)
		c.fail(&statusError{http.StatusServiceUnavailable, "There are too many live pages."})
		return
	}
	defer h.streams.Add(-1)
	s := &stream{c: c, out: c.lasting("text/event-stream")}
	if !s.send("retry: 3000\n\n") {
		return
	}
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for {
		rights := h.most & h.rights(c.r)
		if !rights.Has(to.right) || !s.tell(h.part(c, to, query, rights)) {
			return
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		case <-h.closed:
			return
		}
	}
}

// followed is the page that is to be followed.
func (h *Handler) followed(c *call) (route, url.Values, error) {
	query, err := url.ParseQuery(c.form.Get("query"))
	if err != nil {
		return route{}, nil, &statusError{http.StatusBadRequest, "The address cannot be read."}
	}
	to, err := h.find(c.form.Get("page"), http.MethodGet)
	if err == nil && (to.page == nil || !c.rights.Has(to.right)) {
		err = &statusError{http.StatusForbidden, "This page cannot be followed."}
	}
	return to, query, err
}

// part makes the main part of a page as it is now.
func (h *Handler) part(c *call, to route, query url.Values, rights Rights) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	one := &call{h: h, w: c.w, r: c.r, ctx: ctx, rights: rights, form: query, live: true}
	p, err := to.page(one)
	if err != nil {
		return nil, err
	}
	p.Path, p.Rights = to.path, rights
	var b bytes.Buffer
	if err := render(&b, p.name, "content", &p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// stream is what one page gets.
type stream struct {
	c       *call
	out     *lasting
	last    []byte
	trouble string
	said    time.Time
}

func (s *stream) send(text string) bool {
	s.said = time.Now()
	return s.out.send([]byte(text)) == nil
}

// tell sends what is new. It is false when nobody is there any more.
func (s *stream) tell(part []byte, err error) bool {
	trouble := ""
	if err != nil {
		if s.c.ctx.Err() != nil {
			return false
		}
		if _, gone := err.(moved); gone {
			return false
		}
		trouble = explained(err)
	}
	var b strings.Builder
	if trouble != s.trouble {
		if s.trouble = trouble; err != nil {
			s.c.h.said(s.c, err) // once, and not each time
		}
		event(&b, "trouble", trouble)
	}
	if err == nil && !bytes.Equal(part, s.last) {
		s.last = part
		event(&b, "part", string(part))
	}
	if b.Len() == 0 {
		if time.Since(s.said) < streamAlive {
			return true
		}
		b.WriteString(": \n\n")
	}
	return s.send(b.String())
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// event writes one event. A line ends at a CR as well: else what is behind it would be a field of its own.
func event(w io.Writer, name, data string) {
	_, _ = fmt.Fprintf(w, "event: %s\n", name)
	for line := range strings.SplitSeq(lineEnds.Replace(data), "\n") {
		_, _ = fmt.Fprintf(w, "data: %s\n", line)
	}
	_, _ = io.WriteString(w, "\n")
}
