package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// address is a page and what it is about.
func address(path string, pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + values.Encode()
}

// searched is a search as the pages about it show it.
type searched struct {
	Typed   string // in the box
	Type    string // of the error group, empty for none
	Message string
	Grouped bool
	search  search
}

// Fields are what repeats the search in an address.
func (s *searched) Fields() [][2]string {
	fields := [][2]string{{"q", s.Typed}}
	if s.Grouped {
		fields = append(fields, [2]string{"type", s.Type}, [2]string{"message", s.Message})
	}
	return fields
}

// Address is a page with this search.
func (s *searched) Address(path string, more ...string) string {
	for _, f := range s.Fields() {
		more = append(more, f[0], f[1])
	}
	return address(path, more...)
}

// With is the address of this search for one state only, or for all.
func (s *searched) With(state string) string {
	other := *s
	other.Typed = withoutKey(s.Typed, "status")
	if state != "" {
		other.Typed = strings.TrimLeft(other.Typed+" status:"+state, " ")
	}
	return other.Address("tasks")
}

// withoutKey is a search without the words that have this key.
func withoutKey(typed, key string) string {
	var kept []string
	for _, w := range words(typed) {
		name, value, ok := strings.Cut(w.plain, ":")
		switch {
		case ok && name == key && !w.quoted:
		case ok && !w.quoted && means(name):
			kept = append(kept, term(name, value))
		case w.quoted:
			kept = append(kept, quoted(w.plain))
		default:
			kept = append(kept, w.plain)
		}
	}
	return strings.Join(kept, " ")
}

// State is the one state of the search, or empty.
func (s *searched) State() string {
	if len(s.search.Statuses) != 1 {
		return ""
	}
	return s.search.Statuses[0].String()
}

// maxTyped is how many bytes of an error group an address may have.
const maxTyped = 1500

// searched reads the search of a form.
func (c *call) searched() (*searched, error) {
	typed, err := c.text("q")
	if err != nil {
		return nil, err
	}
	s := &searched{Typed: strings.TrimSpace(typed), Type: c.form.Get("type"), Message: c.form.Get("message"), Grouped: c.form.Has("type")}
	if len(s.Type)+len(s.Message) > maxTyped {
		return nil, &statusError{http.StatusBadRequest, "The error is too long to look for."}
	}
	if s.search, err = parseSearch(s.Typed); err != nil {
		return nil, err
	}
	if s.Grouped {
		s.search.Group = &omniq.ErrorGroup{Type: s.Type, Message: s.Message}
	}
	return s, nil
}

func (h *Handler) tasks(c *call) (page, error) {
	s, err := c.searched()
	if err != nil {
		return h.tasksProblem(c, err)
	}
	if id, err := uuid.Parse(s.search.Text); err == nil && id != uuid.Nil {
		return page{}, moved(address("task", "of", id.String()))
	}
	named, err := s.named(c)
	if err != nil {
		return page{}, err
	}
	q, err := s.search.query(c.rights)
	if err != nil {
		return h.tasksProblem(c, err)
	}
	from := c.form.Get("from")
	f, err := see(c, "tasks "+s.search.key(c.rights, from), func(ctx context.Context) (found, error) { return h.list(ctx, q, from) })
	if err != nil {
		return page{}, err
	}
	data := map[string]any{
		"Search": s, "Found": f, "From": from, "States": listed, "Named": named, "Blind": s.search.private() && !c.rights.Has(Payloads),
	}
	return page{name: "tasks", Title: "Tasks", Data: data}, nil
}

// tasksProblem shows the search box again, with what is wrong with the search.
func (h *Handler) tasksProblem(c *call, err error) (page, error) {
	if c.live || statusOf(err) >= http.StatusInternalServerError {
		return page{}, err
	}
	data := map[string]any{"Search": &searched{Typed: c.form.Get("q")}, "Found": found{}, "From": "", "States": listed, "Named": false, "Blind": false}
	return page{name: "tasks", Title: "Tasks", Static: true, Problem: h.said(c, err), Data: data}, nil
}

// named takes a text that is the name of a function, which a worker has or that was called of late, for that: of tasks that have
// succeeded no text is kept, but their names are. It reports whether it did.
func (s *searched) named(c *call) (bool, error) {
	text := s.search.Text
	if text == "" || s.search.Name != "" || len(text) > omniq.MaxNameLen {
		return false, nil
	}
	l, err := c.lately()
	if err != nil || !l.calls(text) {
		return false, err
	}
	s.search.Name, s.search.Text = text, ""
	return true, nil
}

// bulkAction is something that is done with all tasks of a search.
type bulkAction struct {
	Name     string
	Verb     string
	Done     string
	Statuses []omniq.Status
	do       func(*omniq.Client, context.Context, omniq.Query) (int, error)
}

var bulkActions = []*bulkAction{
	{"cancel", "Cancel", "cancelled", []omniq.Status{omniq.StatusRunning, omniq.StatusPending, omniq.StatusWaiting}, (*omniq.Client).CancelAll},
	{"requeue", "Requeue", "enqueued again", []omniq.Status{omniq.StatusFailure, omniq.StatusExpired, omniq.StatusCancelled}, (*omniq.Client).RequeueAll},
	{"forget", "Forget", "forgotten", []omniq.Status{omniq.StatusFailure, omniq.StatusExpired, omniq.StatusCancelled, omniq.StatusSuccess}, (*omniq.Client).ForgetAll},
}

// Actions are what can be done with tasks that the search means.
func (s *searched) Actions() []*bulkAction {
	var possible []*bulkAction
	for _, a := range bulkActions {
		fits := func(status omniq.Status) bool { return slices.Contains(a.Statuses, status) }
		if len(s.search.Statuses) == 0 || slices.ContainsFunc(s.search.Statuses, fits) {
			possible = append(possible, a)
		}
	}
	return possible
}

// bulkQuery is what a form asks for: an action and the search that it is about. A text that is the name of a function is taken for that
// when it is confirmed, and what is confirmed says so.
func (h *Handler) bulkQuery(c *call) (*bulkAction, *searched, omniq.Query, error) {
	none := omniq.Query{}
	i := slices.IndexFunc(bulkActions, func(a *bulkAction) bool { return a.Name == c.form.Get("do") })
	if i < 0 {
		return nil, nil, none, &statusError{http.StatusBadRequest, "There is no such action."}
	}
	action := bulkActions[i]
	s, err := c.searched()
	if err != nil {
		return nil, nil, none, err
	}
	if c.r.Method != http.MethodPost {
		named, err := s.named(c)
		if err != nil {
			return nil, nil, none, err
		}
		if named {
			s.Typed = strings.TrimLeft(withoutText(s.Typed)+" "+term("name", s.search.Name), " ")
		}
	}
	q, err := s.search.query(c.rights)
	if err != nil {
		return nil, nil, none, err
	}
	if q.Statuses == nil {
		q.Statuses = action.Statuses
	}
	q.Statuses = slices.DeleteFunc(slices.Clone(q.Statuses), func(s omniq.Status) bool { return !slices.Contains(action.Statuses, s) })
	if len(q.Statuses) == 0 {
		return nil, nil, none, &statusError{http.StatusConflict,
			fmt.Sprintf("Tasks that are %v cannot be %s; those can that are %v.", s.search.Statuses, action.Done, action.Statuses)}
	}
	return action, s, withoutSchedules(q), nil
}

// withoutText is a search without what is text alone.
func withoutText(typed string) string {
	var kept []string
	for _, w := range words(typed) {
		if name, value, ok := strings.Cut(w.plain, ":"); ok && !w.quoted && means(name) {
			kept = append(kept, term(name, value))
		}
	}
	return strings.Join(kept, " ")
}

// confirm shows what an action would do with how many tasks, before it is done. It changes nothing.
func (h *Handler) confirm(c *call) (page, error) {
	action, s, q, err := h.bulkQuery(c)
	if err != nil {
		return page{}, err
	}
	n, err := see(c, "count "+action.Name+s.search.key(c.rights), func(ctx context.Context) (counted, error) { return h.count(ctx, q) })
	if err != nil {
		return page{}, err
	}
	data := map[string]any{"Action": action, "Search": s, "Count": n, "Statuses": q.Statuses}
	return page{name: "confirm", Title: action.Verb + " tasks", Static: true, Data: data}, nil
}

// refusedGroup are tasks that were refused for one reason.
type refusedGroup struct {
	Why   string
	Count int
	First uuid.UUID
}

// refusals groups what a bulk action was refused for.
func refusals(err error) []*refusedGroup {
	bulk, ok := errors.AsType[*omniq.BulkError](err)
	if !ok {
		return nil
	}
	var groups []*refusedGroup
	for _, r := range bulk.Refused {
		why := omniq.MaskMessage(explained(r.Err))
		i := slices.IndexFunc(groups, func(g *refusedGroup) bool { return g.Why == why })
		if i < 0 {
			i, groups = len(groups), append(groups, &refusedGroup{Why: why, First: r.ID})
		}
		groups[i].Count++
	}
	return groups
}
