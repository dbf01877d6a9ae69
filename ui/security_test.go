package ui_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// attributes are what stands in quotes in a page, and in fields for text, where a text has to stay as it is.
var attributes = regexp.MustCompile(`(?s)"[^"]*"|<textarea.*?</textarea>`)

// What a foreign page can make a browser send is refused: also what needs no preflight, and with the browser's own login.
func TestForeignPagesChangeNothing(t *testing.T) {
	s := open(t, ui.Everything)
	for _, head := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Content-Type": "text/plain"},
		{"Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"},
		{"Sec-Fetch-Site": "same-site", "Content-Type": "application/x-www-form-urlencoded"},
		{"Origin": "https://evil.example", "Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic YWRhOnNlY3JldA=="},
		{"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/task-cancel", strings.NewReader("of="+s.Pending.String()))
		for k, v := range head {
			r.Header.Set(k, v)
		}
		res, _ := ask(t, s.handler, r)
		assert.Equal(t, http.StatusForbidden, res.StatusCode, head)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	}
	assert.Equal(t, omniq.StatusPending, s.status(t, s.Pending))
}

func TestHeaders(t *testing.T) {
	s := open(t, ui.Everything)
	for _, path := range []string{"queues", "task?of=" + s.Hostile.String(), "what", "style.css", "healthz", "metrics"} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/"+path, nil)
		r.Header.Set("Origin", "https://evil.example")
		res, _ := ask(t, s.handler, r)
		policy := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'self'"} {
			assert.Contains(t, policy, part, path)
		}
		assert.NotContains(t, policy, "unsafe")
		assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "DENY", res.Header.Get("X-Frame-Options"), path)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"), path)
		if path != "style.css" {
			assert.Equal(t, "no-store", res.Header.Get("Cache-Control"), path)
		}
	}
}

// Whatever is in names, payloads and errors, it is text.
func TestHostileText(t *testing.T) {
	s := open(t, ui.Everything)
	id := s.Hostile.String()
	hostile := scene.Hostile
	for _, path := range []string{
		"queues", "queue?of=default", "tasks", "task?of=" + id, "copy?of=" + id, "errors", "workers", "schedules", "flows", "flow?of=" + s.Flow.String(),
		query("tasks", "q", hostile), query("tasks", "q", "name:"+hostile), query("tasks", "q", "queue:"+hostile), query("queue", "of", hostile),
		query("schedule", "of", hostile), query("task", "of", hostile), query("confirm", "do", "requeue", "q", hostile),
		query("tasks", "q", "", "type", hostile, "message", hostile), query("tasks", "q", "", "from", hostile), query("errors", "queue", hostile),
		query("queues", "done", hostile), "%3Cscript%3Ealert(1)%3C/script%3E", query("schedule", "of", "a/b c.%2F"+hostile[:60]),
		query("schedule", "of", "digest.daily", "from", hostile), query("queue", "of", "mail", "limit", hostile),
	} {
		_, body := get(t, s.handler, path)
		assert.NotContains(t, body, "<script>", path)
		assert.NotContains(t, body, "<img", path)
		assert.NotContains(t, attributes.ReplaceAllString(body, ""), "\u202e", path) // which would turn what is around it
		assert.NotContains(t, body, " style=", "the policy forbids it")
		assert.NotContains(t, body, "javascript:", path)
		assert.NotContains(t, body, `name="id"`, "it would hide the property of a form")
		assert.Equal(t, 1, strings.Count(body, "<script"), path)
	}
	for _, path := range []string{"task-cancel", "queue-pause", "schedule-pause", "copy", "bulk", "flow-cancel"} {
		_, where, body := post(t, s.handler, path, "of", hostile, "q", hostile, "do", hostile, "args", hostile, "kwargs", hostile)
		assert.NotContains(t, body, "<script>alert", path)
		assert.NotContains(t, where, "<", path)
	}
	_, where, _ := post(t, s.handler, "bulk", "do", "requeue", "q", hostile)
	assert.Empty(t, where)
}

// A number from a URL has bounds, and a text a length: nothing grows by them.
func TestBoundsOfURLs(t *testing.T) {
	s := open(t, ui.Everything)
	long := strings.Repeat("9", 5000)
	for _, path := range []string{
		query("tasks", "q", long), query("tasks", "from", "RUNNING."+long), query("tasks", "q", "", "type", long, "message", long), query("queue", "of", long),
		query("schedule", "of", long), query("errors", "queue", long), "task?of=" + long, "flow?of=" + long, query("confirm", "do", long, "q", long),
	} {
		status, body := get(t, s.handler, path)
		assert.Contains(t, []int{200, 400, 404}, status, path[:30])
		assert.Less(t, len(body), 100_000, path[:30])
	}
	status, _ := get(t, s.handler, "queues?"+strings.Repeat("a=b&", 50_000))
	assert.Equal(t, http.StatusBadRequest, status)
}

func TestHosts(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	for _, tt := range []struct {
		host  string
		hosts []string
		want  int
	}{
		{"localhost", nil, 200}, {"localhost:8080", nil, 200}, {"ui.localhost:1", nil, 200}, {"127.0.0.1:8080", nil, 200}, {"127.9.9.9", nil, 200},
		{"[::1]:8080", nil, 200}, {"::1", nil, 200}, {"LocalHost.", nil, 200},
		{"evil.example", nil, 421}, {"localhost.evil.example", nil, 421}, {"127.0.0.1.evil.example", nil, 421}, {"10.0.0.1", nil, 421}, {"", nil, 421},
		{"evil-localhost", nil, 421}, {"0.0.0.0", nil, 421},
		{"ops.example.com", []string{"ops.example.com"}, 200}, {"OPS.example.com:443", []string{"ops.example.com"}, 200},
		{"x.ops.example.com", []string{"ops.example.com"}, 421}, {"ops.example.com.evil", []string{"ops.example.com"}, 421},
		{"anything", []string{"*"}, 200}, {"10.0.0.1:80", []string{"10.0.0.1"}, 200}, {"localhost", []string{"ops.example.com"}, 200},
	} {
		h := serve(t, client, ui.View, ui.Hosts(tt.hosts...))
		r := httptest.NewRequest(http.MethodGet, "/queues", nil)
		r.Host = tt.host
		res, _ := ask(t, h, r)
		assert.Equal(t, tt.want, res.StatusCode, "%q with %q", tt.host, tt.hosts)
		r = httptest.NewRequest(http.MethodGet, "/healthz", nil)
		r.Host = tt.host
		res, _ = ask(t, h, r)
		assert.Equal(t, http.StatusOK, res.StatusCode, "probes come by any name")
	}
}

// What is served to everybody is so by its exact path.
func TestHealthIsExemptByItsPath(t *testing.T) {
	s := open(t, 0)
	for path, want := range map[string]int{
		"healthz": 200, "readyz": 200, "healthz/": 403, "queues?x=/healthz": 403, "healthz/queues": 403, "queues/healthz": 403, "metrics": 403,
		"style.css": 403, "events?page=queues": 403, "what": 403,
	} {
		status, _ := get(t, s.handler, path)
		assert.Equal(t, want, status, path)
	}
}

// Pages are asked for again and again, by browsers that look ahead too: they write nothing.
func TestPagesWriteNothing(t *testing.T) {
	s := open(t, ui.Everything)
	watched := &spy{Backend: s.backend}
	client, err := omniq.NewClient(watched)
	require.NoError(t, err)
	h := serve(t, client, ui.Everything)
	for _, path := range []string{
		"", "queues", "queue?of=mail", "tasks", "task?of=" + s.Pending.String(), "copy?of=" + s.Failed.String(), "flow?of=" + s.Flow.String(), "schedules",
		"schedule?of=digest.daily", "errors", "workers", "flows", "confirm?do=forget", "confirm?do=cancel&q=queue:orphans", "metrics", "readyz", "healthz",
		"task-cancel?of=" + s.Pending.String(), "bulk?do=cancel", "queue-pause?of=mail", "schedule-delete?of=digest.daily",
	} {
		status, _ := get(t, h, path)
		assert.NotEqual(t, 500, status, path)
	}
	assert.Empty(t, watched.writes)
	status, _, _ := post(t, h, "queue-pause", "of", "mail")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, []string{"Pause"}, watched.writes)
}

// Without the right payloads are not there: in no page, and not by searching for them.
func TestPayloadsAreOfThoseWhoMaySeeThem(t *testing.T) {
	s := open(t, ui.View|ui.Act|ui.Edit)
	for _, path := range []string{"task?of=" + s.Pending.String(), "tasks?q=bob@example.org", "tasks", "copy?of=" + s.Failed.String()} {
		_, body := get(t, s.handler, path)
		assert.NotContains(t, strings.ReplaceAll(body, `value="bob@example.org"`, ""), "bob@example", path)
	}
	_, body := get(t, s.handler, "task?of="+s.Pending.String())
	assert.NotContains(t, body, "tenant")
	status, body := get(t, s.handler, "tasks?q=meta.tenant:18")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "needed")
	assert.NotContains(t, body, s.Pending.String())
	_, body = get(t, s.handler, "tasks?q=bob@example.org")
	assert.NotContains(t, body, s.Pending.String(), "whether it is there is not told either")
	_, body = get(t, s.handler, "tasks?q=no+card")
	assert.Contains(t, body, s.Failed.String(), "errors can be searched")
	_, _, body = post(t, s.handler, "bulk", "do", "cancel", "q", "bob@example.org")
	assert.Contains(t, body, "0 tasks cancelled")
	status, _, _ = post(t, s.handler, "bulk", "do", "cancel", "q", "meta.tenant:18")
	assert.Equal(t, http.StatusForbidden, status)
}

// What is encrypted is named, and never shown: not its text, which no page knows, and not its bytes.
func TestEncryptedPayloads(t *testing.T) {
	s := open(t, ui.Everything)
	info, err := s.Client.Inspect(t.Context(), s.Encrypted)
	require.NoError(t, err)
	sealed := strings.Trim(string(info.Task.Args), `["]`)
	for _, path := range []string{"task?of=" + s.Encrypted.String(), "copy?of=" + s.Encrypted.String(), "tasks", "tasks?q=" + s.Encrypted.String()} {
		_, body := get(t, s.handler, path)
		assert.NotContains(t, body, sealed[:16], path)
		assert.NotContains(t, body, scene.Secret, path)
	}
	status, _, _ := post(t, s.handler, "copy", "of", s.Encrypted.String(), "args", "[]", "kwargs", "{}")
	assert.Equal(t, http.StatusConflict, status)
}

// A password of the engine is in no page and no log.
func TestPasswordsAreNotTold(t *testing.T) {
	fault := errors.New("cannot connect to postgres://user:hunter2@db/omniq?sslmode=off: password=hunter2 is wrong, PASSWORD = 'hunter2'")
	client, err := omniq.NewClient(&spy{Backend: memory.New(), fail: fault})
	require.NoError(t, err)
	var log bytes.Buffer
	h, err := ui.New(client, ui.Always(ui.Everything), ui.Logger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	for _, path := range []string{"queues", "tasks", "task?of=01890000-0000-7000-8000-000000000001", "errors", "metrics", "readyz", "workers"} {
		_, body := get(t, h, path)
		assert.NotContains(t, body, "hunter2", path)
	}
	_, _, body := post(t, h, "queue-pause", "of", "mail")
	assert.Contains(t, body, "cannot connect to postgres://...@db")
	assert.NotContains(t, body, "hunter2")
	assert.NotEmpty(t, log.String())
	assert.NotContains(t, log.String(), "hunter2")
}
