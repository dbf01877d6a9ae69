package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// search is what somebody looks for: words like name:mail.send, and text.
type search struct {
	Text     string
	Statuses []omniq.Status
	Name     string
	Queue    string
	Lane     string
	Worker   string
	Flow     uuid.UUID
	Error    string
	Meta     [][2]string
	Group    *omniq.ErrorGroup // tasks whose errors are of one kind
}

// searchKeys are the words that mean something, but for meta.
var searchKeys = []string{"name", "queue", "lane", "worker", "flow", "status", "error"}

// parseSearch reads what somebody has typed. What has no key is text, and so is what has one that means nothing.
func parseSearch(typed string) (search, error) {
	var s search
	var text []string
	for _, word := range words(typed) {
		key, value, ok := strings.Cut(word.plain, ":")
		if !ok || word.quoted || !means(key) {
			text = append(text, word.plain)
			continue
		}
		if err := s.set(key, value); err != nil {
			return search{}, err
		}
	}
	s.Text = strings.Join(text, " ")
	if s.Lane != "" && s.Queue == "" {
		return search{}, badSearch("lane: needs a queue: beside it, because lanes are those of a queue")
	}
	return s, nil
}

// means reports whether a word with this key is more than text.
func means(key string) bool {
	return slices.Contains(searchKeys, key) || strings.HasPrefix(key, "meta.") && len(key) > len("meta.") && !strings.Contains(key, " ")
}

func (s *search) set(key, value string) error {
	if value == "" {
		return badSearch("there is nothing behind %s:", key)
	}
	fields := map[string]*string{"name": &s.Name, "queue": &s.Queue, "lane": &s.Lane, "worker": &s.Worker, "error": &s.Error}
	switch field := fields[key]; {
	case field != nil && *field != "":
		return badSearch("%s: stands twice", key)
	case field != nil:
		*field = value
	case key == "flow":
		id, err := uuid.Parse(value)
		if err != nil || id == uuid.Nil {
			return badSearch("flow:%.50s is no ID of a flow", value)
		}
		s.Flow = id
	case key == "status":
		return s.setStatuses(value)
	default:
		s.Meta = append(s.Meta, [2]string{strings.TrimPrefix(key, "meta."), value})
	}
	return nil
}

// otherNames are words that people use for states.
var otherNames = map[string]omniq.Status{
	"FAILED": omniq.StatusFailure, "SUCCEEDED": omniq.StatusSuccess, "SUCCESSFUL": omniq.StatusSuccess, "SCHEDULED": omniq.StatusPending,
	"READY": omniq.StatusPending, "CANCELED": omniq.StatusCancelled,
}

func (s *search) setStatuses(value string) error {
	for name := range strings.SplitSeq(strings.ToUpper(value), ",") {
		status, ok := otherNames[name]
		if !ok {
			if err := status.UnmarshalText([]byte(name)); err != nil {
				return badSearch("status:%.20s is none of %v", name, omniq.Statuses())
			}
		}
		if !slices.Contains(s.Statuses, status) {
			s.Statuses = append(s.Statuses, status)
		}
	}
	return nil
}

func badSearch(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, "This is not understood: " + fmt.Sprintf(format, args...) + "."}
}

// word is a part of a search. In double quotes it, or what is behind its key, may have blanks: name:"a b".
type word struct {
	plain  string
	quoted bool // as a whole: it is text
}

func words(typed string) []word {
	var all []word
	for typed = strings.TrimLeft(typed, " "); typed != ""; typed = strings.TrimLeft(typed, " ") {
		start := 0
		if key, _, ok := strings.Cut(typed, ":"); ok && means(key) {
			start = len(key) + 1
		}
		if value, rest, ok := unquoted(typed[start:]); ok {
			all = append(all, word{typed[:start] + value, start == 0})
			typed = rest
			continue
		}
		plain, rest, _ := strings.Cut(typed, " ")
		all = append(all, word{plain: plain})
		typed = rest
	}
	return all
}

// unquoted reads text in double quotes, behind which the word ends: a quote in JSON that was pasted is none.
func unquoted(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], i+1 == len(s) || s[i+1] == ' '
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// term is one word of a search, which is read back as it is.
func term(key, value string) string {
	if value == "" || strings.ContainsAny(value, ` "\`) {
		value = quoted(value)
	}
	return key + ":" + value
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// private reports whether the search looks into payloads.
func (s *search) private() bool { return s.Text != "" || s.Meta != nil }

// query is the search for the client. The text is looked for in payloads only by those who may see them.
func (s *search) query(rights Rights) (omniq.Query, error) {
	q := omniq.Query{Statuses: s.Statuses, Queue: s.Queue, Lane: s.Lane, Flow: s.Flow, Name: s.Name, Worker: s.Worker}
	if s.Meta != nil && !rights.Has(Payloads) {
		return q, &statusError{http.StatusForbidden, "To search in metadata the right to see payloads is needed."}
	}
	switch {
	case s.Text != "" && rights.Has(Payloads):
		q.Contains = s.Text
	case s.Text != "":
	case s.Error != "":
		q.Contains = s.Error
	case s.Meta != nil:
		q.Contains = metaText(s.Meta[0])
	}
	if s.Error != "" || s.Meta != nil || s.Group != nil || s.Text != "" && q.Contains == "" {
		q.Where = func(info *omniq.TaskInfo) bool { return s.matches(info, rights) }
	}
	return q, nil
}

// withoutSchedules is a query for what is no schedule: these are tasks only for the engine.
func withoutSchedules(q omniq.Query) omniq.Query {
	where := q.Where
	q.Where = func(info *omniq.TaskInfo) bool {
		return info.Queue != omniq.ScheduleQueue && (where == nil || where(info))
	}
	return q
}

// metaText is how metadata stand in a task's JSON, as far as that is certain: otherwise empty, for any task.
func metaText(pair [2]string) string {
	for _, part := range pair {
		for _, r := range part {
			if r <= ' ' || r > '~' || strings.ContainsRune(`"\<>&/`, r) {
				return ""
			}
		}
	}
	return `"` + pair[0] + `":"` + pair[1] + `"`
}

// matches decides what the engine does not.
func (s *search) matches(info *omniq.TaskInfo, rights Rights) bool {
	said := ""
	if info.Error != nil {
		said = info.Error.Type + "\n" + info.Error.Message
	}
	if s.Error != "" && !strings.Contains(said, s.Error) || s.Group != nil && !s.Group.Has(info) {
		return false
	}
	if s.Text != "" && !rights.Has(Payloads) && !strings.Contains(info.FuncName, s.Text) && !strings.Contains(said, s.Text) {
		return false
	}
	for _, pair := range s.Meta {
		if info.Task == nil || info.Task.Metadata[pair[0]] != pair[1] {
			return false
		}
	}
	return true
}

// key is what a search is shared by.
func (s *search) key(rights Rights, more ...string) string {
	plain := *s
	text, err := json.Marshal([]any{plain.Text, plain.Statuses, plain.Name, plain.Queue, plain.Lane, plain.Worker, plain.Flow, plain.Error, plain.Meta, s.group(), rights & Payloads, more})
	if err != nil {
		panic(err) // a state that is none: there is no way to set one
	}
	return string(text)
}

func (s *search) group() []string {
	if s.Group == nil {
		return nil
	}
	return []string{s.Group.Type, s.Group.Message}
}
