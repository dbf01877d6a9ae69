package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

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

// name is the field that says which queue or schedule it is about.
func (c *call) name(kind string) (string, error) {
	name, err := c.text("of")
	if err == nil && name == "" {
		err = &statusError{http.StatusNotFound, "No " + kind + " is named."}
	}
	return name, err
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

// lasting is an answer that is sent in parts, for as long as it takes.
type lasting struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// lasting begins an answer of some kind.
func (c *call) lasting(kind string) *lasting {
	l := &lasting{c.w, http.NewResponseController(c.w)}
	_ = l.control.SetReadDeadline(time.Time{}) // where the server has none, there is none to lift
	head := c.w.Header()
	head.Set("Content-Type", kind)
	head.Set("X-Accel-Buffering", "no")
	return l
}

// send sends a part. Who does not read is not waited for.
func (l *lasting) send(part []byte) error {
	_ = l.control.SetWriteDeadline(time.Now().Add(patience))
	_, err := l.w.Write(part)
	if err == nil {
		err = l.control.Flush()
	}
	_ = l.control.SetWriteDeadline(time.Time{}) // HTTP/2 resets a stream whose deadline passes, also when nothing is to be written
	return err
}
