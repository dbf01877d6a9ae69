package ui_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/scene"
	"github.com/omniq-go/omniq/ui"
)

var quiet = ui.Logger(slog.New(slog.DiscardHandler))

// site is a web interface and what is in its engine.
type site struct {
	*scene.Scene
	handler *ui.Handler
	backend omniq.Backend
}

func open(t *testing.T, rights ui.Rights, opts ...ui.Option) *site {
	t.Helper()
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	s, stop, err := scene.Play(context.Background(), backend)
	require.NoError(t, err)
	t.Cleanup(stop)
	return &site{s, serve(t, s.Client, rights, opts...), backend}
}

func serve(t *testing.T, client *omniq.Client, rights ui.Rights, opts ...ui.Option) *ui.Handler {
	t.Helper()
	h, err := ui.New(client, ui.Always(rights), append(opts, quiet)...)
	require.NoError(t, err)
	return h
}

// ask makes one request and returns the answer with its body.
func ask(t *testing.T, h http.Handler, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Result(), string(body)
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	res, body := ask(t, h, httptest.NewRequest(http.MethodGet, "http://localhost/"+path, nil))
	return res.StatusCode, body
}

func post(t *testing.T, h http.Handler, path string, pairs ...string) (status int, where, body string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "http://localhost/"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, body := ask(t, h, r)
	return res.StatusCode, res.Header.Get("Location"), body
}

func query(path string, pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + values.Encode()
}

func TestPages(t *testing.T) {
	s := open(t, ui.Everything)
	tests := []struct {
		name, path string
		status     int
		has, lacks []string
	}{
		{"queues", "queues", 200, []string{"mail", "limit 50 20/s each 2", "no worker takes this queue", "paused", "1 succeeded and 0 failed"}, nil},
		{"a queue", "queue?of=mail", 200, []string{"mail.send", "50 20/s each 2"}, []string{"no worker takes"}},
		{"a queue that is paused", "queue?of=paused", 200, []string{"Resume"}, []string{`action="queue-pause"`}},
		{"a queue that nobody knows", "queue?of=unknown", 200, []string{"Nothing was done"}, nil},
		{"tasks", "tasks", 200, []string{"report.build", "invoice.charge", "RUNNING", "WAITING", "CANCELLED"}, []string{"More</a>"}},
		{"by state", "tasks?q=status:failed", 200, []string{"invoice.charge", "import.crash", "do=requeue", "do=forget"}, []string{"report.build", "do=cancel"}},
		{"by queue and state", "tasks?q=queue:billing+status:FAILURE", 200, []string{"invoice.charge"}, []string{"import.crash"}},
		{"by name", "tasks?q=name:mail.send", 200, []string{"mail.send", "SUCCESS"}, []string{"report.build"}},
		{"a name as text", "tasks?q=mail.send", 200, []string{"The tasks of this name", "SUCCESS"}, []string{"report.build"}},
		{"text in arguments", "tasks?q=bob@example.org", 200, []string{s.Pending.String()}, []string{s.Succeeded.String()}},
		{"a number in arguments", "tasks?q=9007199254740995", 200, []string{"invoice.charge"}, []string{"report.build"}},
		{"by metadata", "tasks?q=meta.tenant:18", 200, []string{s.Pending.String()}, []string{s.Failed.String()}},
		{"by error", "tasks?q=error:no+card", 200, []string{s.Failed.String()}, []string{s.Panicked.String()}},
		{"by worker", "tasks?q=worker:worker-1+status:RUNNING", 200, []string{"report.build"}, nil},
		{"by flow", "tasks?q=flow:" + s.Flow.String(), 200, []string{"page.index", "page.fetch"}, []string{"invoice"}},
		{"by lane", query("tasks", "q", `queue:default lane:"`+strings.ReplaceAll(scene.Hostile, `"`, `\"`)+`"`), 200, []string{s.Hostile.String()}, nil},
		{"an error group", query("tasks", "q", "status:FAILURE", "type", "error", "message", "customer * has no card"), 200, []string{s.Failed.String(), "Errors like"}, []string{s.Panicked.String()}},
		{"nothing is found", "tasks?q=name:nothing", 200, []string{"No task is like this"}, nil},
		{"not understood", "tasks?q=status:lost", 200, []string{"This is not understood"}, nil},
		{"a task that runs", "task?of=" + s.Running.String(), 200, []string{"attempt 1 runs on worker", "Give back", "[\n  2026\n]", "&#34;total&#34;: 10"}, []string{"Requeue"}},
		{"a task that succeeded", "task?of=" + s.Succeeded.String(), 200, []string{"9007199254740993", "are kept only if"}, []string{"task-cancel", "task-requeue"}},
		{"a task that failed", "task?of=" + s.Failed.String(), 200, []string{"failed for good after 1 attempt", "has no card", "Requeue", "Copy", "priority", "17"}, nil},
		{"a task that panicked", "task?of=" + s.Panicked.String(), 200, []string{"omniq.Panic", "the import has a hole", "scene.go"}, nil},
		{"a task to be tried again", "task?of=" + s.Retried.String(), 200, []string{"upstream answered 503", "is due", "Run now"}, nil},
		{"a task that waits", "task?of=" + s.Waiting.String(), 200, []string{"depends on 1 task", "Depends on"}, nil},
		{"a key", "task?of=" + s.Keyed.String(), 200, []string{"one at a time", "Free key"}, nil},
		{"encrypted", "task?of=" + s.Encrypted.String(), 200, []string{`encrypted by key &#34;2026&#34; with codec json&#43;aesgcm`}, []string{scene.Secret, "AQQyMDI2"}},
		{"copy", "copy?of=" + s.Failed.String(), 200, []string{"[9007199254740997]"}, nil},
		{"copy of what has no arguments", "copy?of=" + s.Succeeded.String(), 409, []string{"its arguments are not kept"}, nil},
		{"copy of what is encrypted", "copy?of=" + s.Encrypted.String(), 409, []string{"written by codec"}, []string{scene.Secret}},
		{"flows", "flows", 200, []string{"flow?of=" + s.Flow.String(), "flow?of=" + s.Broken.String(), `class="state failure"`}, []string{"To the beginning"}},
		{"no such page of flows", "flows?from=LOST.", 400, []string{"This list has no such page"}, nil},
		{"a flow", "flow?of=" + s.Flow.String(), 200, []string{"SUCCESS", "<svg", "page.parse", `class="edge" d="M`}, []string{"Requeue"}},
		{"a flow that stopped", "flow?of=" + s.Broken.String(), 200, []string{"FAILURE", "Requeue what failed"}, nil},
		{"schedules", "schedules", 200, []string{"digest.daily", "paused", "Europe/Berlin"}, nil},
		{"a schedule", "schedule?of=digest.daily", 200, []string{"Trigger", "Backfill", "Delete", "There was no run yet"}, nil},
		{"errors", "errors", 200, []string{"customer * has no card", ">5</a>", "omniq.Panic"}, nil},
		{"errors of a queue", "errors?queue=billing", 200, []string{"customer * has no card"}, []string{"omniq.Panic"}},
		{"workers", "workers", 200, []string{"worker-1", "1 of 8", "report.build", "reports"}, nil},
		{"confirm", "confirm?do=requeue&q=queue:billing", 200, []string{"Requeue 5 tasks?", "queue:billing"}, []string{"data-live"}},
		{"confirm by a name as text", "confirm?do=requeue&q=invoice.charge+queue:billing", 200, []string{"Requeue 5 tasks?", "queue:billing name:invoice.charge"}, nil},
		{"a name beside a name", "confirm?do=requeue&q=name:x+invoice.charge", 200, []string{"Requeue 0 tasks?", `value="name:x invoice.charge"`}, nil},
		{"confirm what cannot be", "confirm?do=cancel&q=status:SUCCESS", 409, []string{"cannot be cancelled"}, nil},
		{"no such action", "confirm?do=destroy", 400, nil, nil},
		{"no such task", "task?of=01890000-0000-7000-8000-000000000000", 404, []string{"There is no task"}, nil},
		{"no ID", "task?of=../etc", 404, []string{"is no ID"}, nil},
		{"no such flow", "flow?of=01890000-0000-7000-8000-000000000000", 404, []string{"There is no flow"}, nil},
		{"no such schedule", "schedule?of=none", 404, []string{"There is no such schedule"}, nil},
		{"no such page", "what", 404, []string{"There is no such page", `href="queues"`}, nil},
		{"no such page further down", "a/b/c", 404, []string{`href="../../queues"`, `href="../../style.css`}, nil},
		{"no such place in a list", "tasks?from=RUNNING.nonsense", 400, []string{"no such page"}, nil},
		{"no such state in a list", "tasks?from=LOST.", 400, []string{"no such page"}, nil},
		{"too much to look for", "tasks?q=" + strings.Repeat("x", 1001), 200, []string{"has 1001 bytes"}, nil},
		{"not a form", "tasks?q=%zz", 400, nil, nil},
		{"a note", "queue?of=mail&done=paused", 200, []string{"It is paused."}, nil},
		{"a note of somebody else", "queue?of=mail&done=send+me+your+password", 200, nil, []string{"password"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := get(t, s.handler, tt.path)
			assert.Equal(t, tt.status, status)
			for _, text := range tt.has {
				assert.Contains(t, body, text)
			}
			for _, text := range tt.lacks {
				assert.NotContains(t, body, text)
			}
		})
	}
}

func TestLanesAreCounted(t *testing.T) {
	s := open(t, ui.View)
	for _, at := range []struct{ queue, lane string }{{"one", "a"}, {"two", "a"}, {"two", "b"}} {
		_, err := omniq.ReferNoArgs[int]("report").Enqueue(t.Context(), s.Client, omniq.Queue(at.queue), omniq.Lane(at.lane))
		require.NoError(t, err)
	}
	_, body := get(t, s.handler, "queues")
	assert.Contains(t, body, ">1 lane<")
	assert.Contains(t, body, ">2 lanes<")
}

// The page of queues says which tables there are, and shows all else where that cannot be told.
func TestTables(t *testing.T) {
	var found omniq.Schema
	var fault error
	for _, c := range []struct {
		name  string
		found omniq.Schema
		fault error
		says  string
		class string
	}{
		{"right", omniq.Schema{Version: 5, Newest: 5}, nil, "have version 5, as this program wants", "hint"},
		{"older", omniq.Schema{Version: 4, Newest: 5}, nil, "have version 4, and this program wants 5", "problem"},
		{"newer", omniq.Schema{}, errors.New("it has version 6, and this program knows 1 to 5"), "it has version 6, and this program knows 1 to 5", "problem"},
		{"an engine without tables", omniq.Schema{}, nil, "", ""},
	} {
		found, fault = c.found, c.fault
		s := open(t, ui.View, ui.Schema(func(context.Context) (omniq.Schema, error) { return found, fault }))
		status, body := get(t, s.handler, "queues")
		assert.Equal(t, http.StatusOK, status, c.name)
		assert.Contains(t, body, `href="queue?of=mail"`, c.name)
		if c.says == "" {
			assert.NotContains(t, body, "tables", c.name)
			continue
		}
		assert.Regexp(t, `<p class="`+c.class+`" data-key="tables">[^<]*`+regexp.QuoteMeta(c.says), body, c.name)
	}
	_, err := ui.New(open(t, ui.View).Client, ui.Always(ui.View), ui.Schema(nil))
	require.ErrorIs(t, err, omniq.ErrInvalid)
}
