package ui_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/ui"
)

// follow opens the live updates of a page, and returns the next event as it is read by a browser.
func follow(t *testing.T, server *httptest.Server, page, query string) (next func() (name, data string), end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	address := server.URL + "/events?" + url.Values{"page": {page}, "query": {query}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	require.NoError(t, err)
	res, err := server.Client().Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	assert.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 10<<20)
	return func() (name, data string) {
			for lines.Scan() {
				assert.NotContains(t, lines.Text(), "\r", "a browser ends the line there")
				field, value, _ := strings.Cut(lines.Text(), ": ")
				switch field {
				case "event":
					name = value
				case "data":
					data += value + "\n"
				case "retry", ":":
				case "":
					if name != "" {
						return name, data
					}
				default:
					t.Errorf("a line that is no field: %q", lines.Text())
				}
			}
			return "", ""
		}, func() {
			cancel()
			_ = res.Body.Close()
		}
}

func TestLivePage(t *testing.T) {
	s := open(t, ui.Everything)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	next, end := follow(t, server, "queue", "of=mail")
	defer end()
	name, data := next()
	assert.Equal(t, "part", name)
	assert.Contains(t, data, "<h1><bdi>mail")
	assert.NotContains(t, data, "<html", "it is the main part alone")
	require.NoError(t, s.Client.Pause(t.Context(), "mail"))
	name, data = next()
	assert.Equal(t, "part", name)
	assert.Contains(t, data, "paused")
}

// A line end in what a user has written begins no event of its own.
func TestLivePageOfHostileText(t *testing.T) {
	s := open(t, ui.Everything)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	next, end := follow(t, server, "task", "of="+s.Hostile.String())
	defer end()
	name, data := next()
	assert.Equal(t, "part", name)
	assert.Contains(t, data, "event: part")
	assert.NotContains(t, data, "<script")
	assert.Contains(t, data, "What happened", "it is whole")
}

// Who loses the right to see payloads while a page is open does not see them any more.
func TestLivePayloadsAreOfThoseWhoMaySeeThem(t *testing.T) {
	s := open(t, ui.Everything)
	var rights atomic.Uint32
	rights.Store(uint32(ui.Everything))
	h, err := ui.New(s.Client, func(*http.Request) ui.Rights { return ui.Rights(rights.Load()) }, quiet)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	next, end := follow(t, server, "task", "of="+s.Pending.String())
	defer end()
	_, data := next()
	assert.Contains(t, data, "bob@example.org")
	rights.Store(uint32(ui.View))
	_, data = next()
	assert.Contains(t, data, "Payloads are not shown to you")
	assert.NotContains(t, data, "bob@example.org")
	assert.NotContains(t, data, "task-cancel")
}

func TestLiveTrouble(t *testing.T) {
	backend := &spy{Backend: memory.New()}
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	server := httptest.NewServer(serve(t, client, ui.View))
	t.Cleanup(server.Close)
	next, end := follow(t, server, "queues", "")
	defer end()
	name, _ := next()
	assert.Equal(t, "part", name)
	backend.setFail(errors.New("the disk is gone"))
	name, data := next()
	assert.Equal(t, "trouble", name)
	assert.Contains(t, data, "the disk is gone")
	backend.setFail(nil)
	name, data = next()
	assert.Equal(t, "trouble", name)
	assert.Equal(t, "\n", data, "it is over")
}

func TestLivePagesEnd(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	var rights atomic.Uint32
	rights.Store(uint32(ui.View))
	h, err := ui.New(client, func(*http.Request) ui.Rights { return ui.Rights(rights.Load()) }, quiet)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)

	next, end := follow(t, server, "queues", "")
	defer end()
	name, _ := next()
	assert.Equal(t, "part", name)
	rights.Store(0)
	name, _ = next()
	assert.Empty(t, name, "who has lost the right gets no more")

	rights.Store(uint32(ui.View))
	next, end = follow(t, server, "queues", "")
	defer end()
	name, _ = next()
	assert.Equal(t, "part", name)
	h.Close()
	h.Close()
	name, _ = next()
	assert.Empty(t, name, "the server shuts down")

	for page, want := range map[string]int{"what": 404, "events": 403, "metrics": 403, "copy": 403, "confirm": 403, "task-cancel": 405} {
		status, _ := get(t, h, query("events", "page", page))
		assert.Equal(t, want, status, page)
	}
}

// However many tabs are open, the engine is asked for one.
func TestTabsShareOneLook(t *testing.T) {
	backend := &spy{Backend: memory.New()}
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	server := httptest.NewServer(serve(t, client, ui.View))
	t.Cleanup(server.Close)
	began := time.Now()
	for range 10 {
		next, end := follow(t, server, "queues", "")
		defer end()
		name, _ := next()
		require.Equal(t, "part", name)
	}
	looks := 1 + int(time.Since(began)/(2*time.Second)) // where the machine is slow, they are not open at the same time
	assert.LessOrEqual(t, backend.times("Stats"), looks)
	assert.LessOrEqual(t, backend.times("History"), looks)
	assert.LessOrEqual(t, backend.times("Workers"), looks)
}

func TestScrapersShareOneLook(t *testing.T) {
	backend := &spy{Backend: memory.New()}
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h := serve(t, client, ui.View)
	began := time.Now()
	for range 5 {
		status, _ := get(t, h, "metrics")
		require.Equal(t, http.StatusOK, status)
	}
	assert.LessOrEqual(t, backend.times("Stats"), 1+int(time.Since(began)/(5*time.Second)))
}

func TestMetrics(t *testing.T) {
	s := open(t, ui.View)
	status, text := get(t, s.handler, "metrics")
	assert.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		"omniq_up 1", `omniq_queue_tasks{queue="billing",state="failed"} 5`, `omniq_queue_tasks{queue="orphans",state="ready"} 3`,
		`omniq_queue_paused{queue="paused"} 1`, `omniq_queue_paused{queue="mail"} 0`, "omniq_workers 1", "omniq_worker_concurrency 8",
		"# TYPE omniq_queue_latency_seconds gauge",
	} {
		assert.Contains(t, text, line+"\n")
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, ok := strings.Cut(strings.TrimSpace(line), " ")
		assert.True(t, ok, line)
		assert.False(t, seen[name], "%s stands twice", name)
		seen[name] = true
	}
	require.NoError(t, s.backend.Close())
	s.handler = serve(t, s.Client, ui.View)
	status, text = get(t, s.handler, "metrics")
	assert.Equal(t, http.StatusOK, status, "an engine that is down is a figure, and no missing page")
	assert.Contains(t, text, "omniq_up 0\n")
	assert.NotContains(t, text, "omniq_workers")
}

func TestHealth(t *testing.T) {
	backend := &spy{Backend: memory.New()}
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	status, body := get(t, serve(t, client, 0), "readyz")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ok\n", body)
	backend.setFail(errors.New("postgres://somewhere is down"))
	h := serve(t, client, 0)
	status, body = get(t, h, "readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "the engine has failed\n", body, "who may see nothing is told no more")
	status, _ = get(t, h, "healthz")
	assert.Equal(t, http.StatusOK, status, "the process runs")
}

// An engine that does not answer is said so, soon, on the page that was asked for.
func TestEngineThatHasGone(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.backend.Close())
	h := serve(t, s.Client, ui.Everything)
	for _, path := range []string{
		"queues", "queue?of=mail", "tasks", "tasks?q=x", "task?of=" + s.Failed.String(), "copy?of=" + s.Failed.String(), "flow?of=" + s.Flow.String(),
		"schedules", "schedule?of=digest.daily", "errors", "workers", "flows", "confirm?do=cancel",
	} {
		status, body := get(t, h, path)
		assert.Equal(t, http.StatusServiceUnavailable, status, path)
		assert.Contains(t, body, "The engine does not answer: ", path)
		assert.Contains(t, body, `href="queues"`, path)
	}
	for _, path := range []string{"queue-pause", "task-cancel", "flow-cancel", "schedule-pause", "bulk"} {
		status, _, body := post(t, h, path, "of", s.Failed.String(), "do", "cancel")
		assert.Contains(t, []int{http.StatusServiceUnavailable, http.StatusOK}, status, path)
		assert.Contains(t, body, "The engine does not answer", path)
	}
}

// mute is an engine that never answers.
type mute struct{ omniq.Backend }

func (mute) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("stats: %w", ctx.Err())
}

func TestEngineThatDoesNotAnswer(t *testing.T) {
	client, err := omniq.NewClient(mute{memory.New()})
	require.NoError(t, err)
	began := time.Now()
	status, body := get(t, serve(t, client, ui.View), "queues")
	assert.Equal(t, http.StatusGatewayTimeout, status)
	assert.Contains(t, body, "has not answered within 5s")
	assert.Less(t, time.Since(began), 30*time.Second)
}

func TestEmptyEngine(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h := serve(t, client, ui.Everything)
	for path, text := range map[string]string{
		"queues": "There are no queues yet", "tasks": "No task is like this", "schedules": "There are no schedules", "errors": "Nothing has failed", "flows": "There are no flows",
		"workers": "There are no workers", "confirm?do=cancel": "Cancel 0 tasks?", "queue?of=x": "Nothing was done",
	} {
		status, body := get(t, h, path)
		assert.Equal(t, http.StatusOK, status, path)
		assert.Contains(t, body, text, path)
	}
}

// address is where a browser finds what is mounted below a prefix.
func address(server *httptest.Server, prefix string) string {
	return server.URL + (&url.URL{Path: prefix}).EscapedPath()
}

// Below whatever prefix, stripped or not, each page is found, and links and redirects lead to pages.
func TestPrefix(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	mux := func(pattern string, h http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle(pattern, h)
		return m
	}
	for _, tt := range []struct {
		name, prefix string
		handler      http.Handler
	}{
		{"at the root", "", serve(t, client, ui.Everything)},
		{"below a pattern", "/ops/omniq", mux("/ops/omniq/", serve(t, client, ui.Everything, ui.Prefix("/ops/omniq/")))},
		{"stripped here", "/ops", mux("/ops/", http.StripPrefix("/ops", serve(t, client, ui.Everything)))},
		{"stripped here, and named", "/ops", mux("/ops/", http.StripPrefix("/ops", serve(t, client, ui.Everything, ui.Prefix("ops"))))},
		{"without a mux", "/ops", serve(t, client, ui.Everything, ui.Prefix("/ops"))},
		{"stripped from further down", "/a/b c", http.StripPrefix("/a/b c", serve(t, client, ui.Everything))},
		{"stripped without a mux", "/ops", http.StripPrefix("/ops", serve(t, client, ui.Everything))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			t.Cleanup(server.Close)
			for path, want := range map[string]string{"": "queues", "/": "queues", "/queues": "queues", "/tasks?q=x": "tasks"} {
				res, err := server.Client().Get(address(server, tt.prefix) + path)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				assert.Equal(t, http.StatusOK, res.StatusCode, path)
				assert.Equal(t, tt.prefix+"/"+want, res.Request.URL.Path, path)
			}
			res, err := server.Client().Get(address(server, tt.prefix) + "/style.css")
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, "text/css; charset=utf-8", res.Header.Get("Content-Type"))
			res, err = server.Client().PostForm(address(server, tt.prefix)+"/queue-pause", url.Values{"of": {"mail"}})
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			assert.Equal(t, tt.prefix+"/queue", res.Request.URL.Path)
			assert.Equal(t, "done=paused&of=mail", res.Request.URL.RawQuery)
			assert.Equal(t, http.StatusOK, res.StatusCode)
		})
	}
}

// An asset is kept by the browser until there is another version of it.
func TestAssets(t *testing.T) {
	s := open(t, ui.View)
	for name, kind := range map[string]string{"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg"} {
		res, _ := ask(t, s.handler, httptest.NewRequest(http.MethodGet, "http://localhost/"+name, nil))
		assert.Contains(t, res.Header.Get("Content-Type"), kind)
		r := httptest.NewRequest(http.MethodGet, "http://localhost/"+name, nil)
		r.Header.Set("If-None-Match", res.Header.Get("ETag"))
		res, body := ask(t, s.handler, r)
		assert.Equal(t, http.StatusNotModified, res.StatusCode)
		assert.Empty(t, body)
	}
	r := httptest.NewRequest(http.MethodDelete, "http://localhost/queues", nil)
	res, _ := ask(t, s.handler, r)
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	assert.Equal(t, "GET", res.Header.Get("Allow"))
	res, _ = ask(t, s.handler, httptest.NewRequest(http.MethodHead, "http://localhost/queues", nil))
	assert.Equal(t, http.StatusOK, res.StatusCode)
}

// A page that is found by its search can be followed to its end, and each task is on one page.
func TestPagesOfTasks(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	ref := omniq.ReferNoArgs[int]("many", omniq.Queue("many"))
	for range 120 {
		h, err := ref.Enqueue(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, client.Cancel(t.Context(), h.ID()))
		_, err = ref.Enqueue(t.Context(), client)
		require.NoError(t, err)
	}
	for _, q := range []string{"", "queue:many", "error:cancelled", "meta.none:x"} {
		seen := make(map[string]bool)
		for _, rows := range allPages(t, serve(t, client, ui.Everything), query("tasks", "q", q)) {
			for _, id := range rows {
				assert.False(t, seen[id], "%s stands twice", id)
				seen[id] = true
			}
		}
		want := map[string]int{"": 240, "queue:many": 240, "error:cancelled": 120, "meta.none:x": 0}[q]
		assert.Len(t, seen, want, q)
	}
}

// allPages are the rows of a list and of those that go on with it.
func allPages(t *testing.T, h http.Handler, path string) (pages [][]string) {
	t.Helper()
	for path != "" {
		_, body := get(t, h, path)
		var rows []string
		for part := range strings.SplitSeq(body, `<tr data-key="`) {
			if id, _, ok := strings.Cut(part, `"`); ok && len(id) == 36 {
				rows = append(rows, id)
			}
		}
		pages = append(pages, rows)
		require.Less(t, len(pages), 20)
		path = ""
		if before, _, ok := strings.Cut(body, `">More</a>`); ok {
			path = strings.ReplaceAll(before[strings.LastIndex(before, `href="`)+len(`href="`):], "&amp;", "&")
		}
	}
	return pages
}

// All flows are found, however many tasks there are that have none, and those of a page stand there once.
func TestPagesOfFlows(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	ref := omniq.ReferArgs[omniq.Args1[int], omniq.Args1[int]]("part")
	want := make(map[string]bool)
	for range 120 {
		_, err := ref.Enqueue(t.Context(), client, omniq.MakeArgs1(0))
		require.NoError(t, err)
		h, err := ref.On(ref.With(omniq.MakeArgs1(1))).Enqueue(t.Context(), client)
		require.NoError(t, err)
		f, err := h.Flow(t.Context())
		require.NoError(t, err)
		want[f.ID().String()] = true
	}
	seen := make(map[string]bool)
	pages := allPages(t, serve(t, client, ui.View), "flows")
	for _, rows := range pages {
		once := make(map[string]bool)
		for _, id := range rows {
			assert.False(t, once[id], "%s stands twice", id)
			once[id], seen[id] = true, true
		}
	}
	assert.Equal(t, want, seen)
	assert.Greater(t, len(pages), 1)
}
