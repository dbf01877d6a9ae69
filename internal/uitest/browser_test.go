package uitest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/internal/scene"
	"github.com/omniq-go/omniq/ui"
)

// site is a web interface over an engine on disk.
type site struct {
	*scene.Scene
	handler *ui.Handler
	server  *httptest.Server
}

func open(t *testing.T) *site {
	t.Helper()
	backend, err := sqlite.Open(filepath.Join(t.TempDir(), "queue.db"), sqlite.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	s, stop, err := scene.Play(context.Background(), backend)
	require.NoError(t, err)
	t.Cleanup(stop)
	return serve(t, s)
}

func serve(t *testing.T, s *scene.Scene) *site {
	t.Helper()
	h, err := ui.New(s.Client, ui.Always(ui.Everything), ui.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		h.Close()
		server.Close()
	})
	return &site{s, h, server}
}

// browser starts Chromium. What its pages complain about fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true))
	allocated, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(stop)
	require.NoError(t, chromedp.Do(ctx)) // it is to start with this context, which lasts
	messages, said := chromedp.Console(ctx), make(chan struct{})
	go func() {
		defer close(said)
		for m, err := range messages {
			if err != nil {
				return // the browser has ended
			}
			if m.Type != chromedp.ConsoleDebug && !strings.Contains(m.Text, "Failed to load resource") {
				t.Errorf("the page says: %s %s", m.Type, m.Text)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-said
	})
	return ctx
}

// do runs steps in the browser, each in good time.
func do(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

// css is a selector.
type css = chromedp.CSS

// ask makes one step whose value is wanted.
func ask[T any](ctx context.Context, t *testing.T, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	require.NoError(t, err)
	return v
}

// eval is the value of an expression in the page.
func eval[T any](ctx context.Context, t *testing.T, expression string) T {
	t.Helper()
	return ask(ctx, t, chromedp.Evaluate[T](expression))
}

// text is the text of an element.
func text(ctx context.Context, t *testing.T, selector string) string {
	t.Helper()
	return ask(ctx, t, chromedp.Text(css(selector)))
}

// pages are all there are.
func (s *site) pages() map[string]string {
	return map[string]string{
		"queues": "queues", "queue": "queue?of=mail", "orphans": "queue?of=orphans", "tasks": "tasks", "failed": "tasks?q=status:FAILURE",
		"task": "task?of=" + s.Failed.String(), "running": "task?of=" + s.Running.String(), "panicked": "task?of=" + s.Panicked.String(),
		"hostile": "task?of=" + s.Hostile.String(), "encrypted": "task?of=" + s.Encrypted.String(), "copy": "copy?of=" + s.Failed.String(),
		"flows": "flows", "flow": "flow?of=" + s.Flow.String(), "broken": "flow?of=" + s.Broken.String(), "schedules": "schedules", "schedule": "schedule?of=digest.daily",
		"errors": "errors", "workers": "workers", "confirm": "confirm?do=requeue&q=queue:billing", "unknown": "what",
	}
}

// TestScreenshots looks at each page, light and dark, wide and narrow: nothing is wider than the window, and nothing is refused by
// the page's own policy. OMNIQ_SCREENSHOTS names a directory for the pictures, and OMNIQ_AXE the file axe.min.js of axe-core, which then
// must have nothing against a page.
func TestScreenshots(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	dir, axe := os.Getenv("OMNIQ_SCREENSHOTS"), ""
	if file := os.Getenv("OMNIQ_AXE"); file != "" {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		axe = string(text) + ";undefined"
	}
	for _, look := range []struct {
		name  string
		width int64
		theme string
	}{{"wide-light", 1280, "light"}, {"wide-dark", 1280, "dark"}, {"narrow-light", 375, "light"}, {"narrow-dark", 375, "dark"}} {
		do(ctx, t, chromedp.EmulateViewport(look.width, 800))
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.theme}},
		})
		require.NoError(t, err)
		for name, path := range s.pages() {
			do(ctx, t, chromedp.Navigate(s.server.URL+"/"+path), chromedp.WaitVisible(css("main")))
			wide := eval[bool](ctx, t, `document.documentElement.scrollWidth > document.documentElement.clientWidth`)
			assert.False(t, wide, "%s %s is wider than the window", name, look.name)
			if axe != "" {
				eval[chromedp.Void](ctx, t, axe)
				found := ask(ctx, t, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html)))`,
					chromedp.EvalAwaitPromise))
				assert.Empty(t, found, "%s %s", name, look.name)
			}
			if dir != "" {
				picture := ask(ctx, t, chromedp.FullScreenshot(100))
				require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-"+look.name+".png"), picture, 0o644))
			}
		}
	}
}

// An open page changes by itself, and what somebody does there is left alone: focus, what is typed, what is open.
func TestLivePage(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	do(ctx, t, chromedp.Navigate(s.server.URL+"/queue?of=mail"), chromedp.WaitVisible(css("main")),
		chromedp.SetValue(css(`input[name=limit]`), "typed"), chromedp.Focus(css(`input[name=limit]`)),
		chromedp.Click(css(`summary.button`)))
	do(ctx, t, chromedp.Focus(css(`input[name=limit]`)))
	send := omniq.ReferNoArgs[int]("mail.test", omniq.Queue("mail"), omniq.Delay(time.Hour))
	_, err := send.Enqueue(t.Context(), s.Client)
	require.NoError(t, err)
	do(ctx, t, chromedp.Poll[chromedp.Void](`document.querySelector("main").textContent.includes("mail.test")`))
	assert.Equal(t, "limit", eval[string](ctx, t, `document.activeElement.name`))
	assert.Equal(t, "typed", eval[string](ctx, t, `document.activeElement.value`))
	assert.True(t, eval[bool](ctx, t, `document.querySelector("details.sure").open`))

	require.NoError(t, s.Client.Pause(t.Context(), "mail"))
	do(ctx, t, chromedp.WaitVisible(css(`form[action=queue-resume]`)), chromedp.WaitNotPresent(css(`form[action=queue-pause]`)))
}

// A row that moves is the same row, none stands twice, and one that has gone is gone.
func TestLiveRowsMove(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	rows := `[...document.querySelectorAll("tr[data-key]")].map(r => r.dataset.key).join()`
	do(ctx, t, chromedp.Navigate(s.server.URL+"/tasks"), chromedp.WaitVisible(css("main")))
	eval[chromedp.Void](ctx, t, `for (const r of document.querySelectorAll("tr[data-key]")) r.mark = r.dataset.key`)
	require.NoError(t, s.Client.Forget(t.Context(), s.Panicked))
	require.NoError(t, s.Client.Cancel(t.Context(), s.Orphan))
	do(ctx, t, chromedp.Poll[chromedp.Void](`document.querySelector("tr[data-key='`+s.Orphan.String()+`']").textContent.includes("CANCELLED")`))
	assert.True(t, eval[bool](ctx, t, `[...document.querySelectorAll("tr[data-key]")].every(r => r.mark === r.dataset.key)`))
	live := eval[string](ctx, t, rows)
	assert.NotContains(t, live, s.Panicked.String())
	do(ctx, t, chromedp.Navigate(s.server.URL+"/tasks"), chromedp.WaitVisible(css("main")))
	assert.Equal(t, eval[string](ctx, t, rows), live)
}

// Live updates can be paused, from page to page.
func TestLiveIsPaused(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	do(ctx, t, chromedp.Navigate(s.server.URL+"/queues"), chromedp.Click(css(`.live`)))
	assert.Equal(t, "Go live", text(ctx, t, ".live"))
	do(ctx, t, chromedp.Navigate(s.server.URL+"/queue?of=paused"), chromedp.WaitVisible(css(`.live`)))
	assert.Equal(t, "Go live", text(ctx, t, ".live"))
	require.NoError(t, s.Client.Resume(t.Context(), "paused"))
	do(ctx, t, chromedp.Click(css(`.live`)), chromedp.WaitVisible(css(`form[action=queue-pause]`)))
}

// Trouble is told on the page that is open, and what it shows stays.
func TestLiveTrouble(t *testing.T) {
	backend, err := sqlite.Open(filepath.Join(t.TempDir(), "queue.db"))
	require.NoError(t, err)
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	s := serve(t, &scene.Scene{Client: client})
	ctx := browser(t)
	do(ctx, t, chromedp.Navigate(s.server.URL+"/queues"), chromedp.WaitVisible(css(`.live`)))
	require.NoError(t, backend.Close())
	do(ctx, t, chromedp.WaitVisible(css(`.trouble`)))
	assert.Contains(t, text(ctx, t, ".trouble"), "does not answer")
	assert.Contains(t, text(ctx, t, "main"), "There are no queues yet")
}

// Who loses the right to look is told that the page is not live any more.
func TestLiveEnds(t *testing.T) {
	backend, err := sqlite.Open(filepath.Join(t.TempDir(), "queue.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	var lost atomic.Bool
	rights := func(*http.Request) ui.Rights {
		if lost.Load() {
			return 0
		}
		return ui.View
	}
	h, err := ui.New(client, rights, ui.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(h.Close)
	ctx := browser(t)
	do(ctx, t, chromedp.Navigate(server.URL+"/queues"), chromedp.WaitVisible(css(`.live`)))
	lost.Store(true)
	do(ctx, t, chromedp.Poll[chromedp.Void](`document.querySelector(".trouble").textContent.includes("have ended")`))
}

// Each action is done by the forms that there are, as a person does it.
func TestActions(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	visit := func(path string) {
		do(ctx, t, chromedp.Navigate(s.server.URL+"/"+path), chromedp.WaitVisible(css("main")))
	}
	press := func(action string) { // what must be confirmed has to be opened first
		eval[chromedp.Void](ctx, t, `document.querySelector("form[action=`+action+`]").closest("details")?.setAttribute("open", ""); document.querySelector(".note")?.remove()`)
		do(ctx, t, chromedp.Click(css(`form[action=`+action+`] button`)), chromedp.WaitVisible(css(`.note`)))
	}
	status := func(id interface{ String() string }) string {
		visit("task?of=" + id.String())
		return text(ctx, t, "h1 .state")
	}
	visit("task?of=" + s.Orphan.String())
	press("task-cancel")
	assert.Equal(t, "CANCELLED", status(s.Orphan))
	press("task-requeue")
	assert.Equal(t, "PENDING", status(s.Orphan))
	press("task-run")
	visit("task?of=" + s.Keyed.String())
	press("task-free")
	visit("task?of=" + s.Running.String())
	press("task-back")
	visit("task?of=" + s.Cancelled.String())
	press("task-forget")

	visit("queue?of=mail")
	press("queue-pause")
	press("queue-resume")
	do(ctx, t, chromedp.SetValue(css(`input[name=limit]`), "3"))
	press("queue-limit")

	visit("flow?of=" + s.Broken.String())
	press("flow-retry")
	visit("schedule?of=digest.daily")
	press("schedule-trigger")
	press("schedule-pause")
	press("schedule-resume")
	eval[chromedp.Void](ctx, t, `const f = document.querySelector("form[action=schedule-backfill]"); f.from.value = "2026-03-02T00:00"; f.until.value = "2026-03-03T00:00"`)
	press("schedule-backfill")
	press("schedule-delete")

	visit("copy?of=" + s.Failed.String())
	do(ctx, t, chromedp.SetValue(css(`textarea[name=args]`), "[7]"))
	press("copy")

	visit("tasks")
	do(ctx, t, chromedp.SendKeys(css(`#q`), "queue:billing\r"), chromedp.WaitVisible(css(`a[href*="do=requeue"][href*="billing"]`)),
		chromedp.Click(css(`a[href*="do=requeue"]`)), chromedp.WaitVisible(css(`.danger`)))
	assert.Contains(t, text(ctx, t, "h1"), "Requeue ")
	do(ctx, t, chromedp.Click(css(`.danger`)), chromedp.WaitVisible(css(`main a.button[href="queues"]`)))
	assert.Contains(t, text(ctx, t, "h1"), "enqueued again")
}

// What a user has written runs in no browser.
func TestHostileText(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	for name, path := range s.pages() {
		do(ctx, t, chromedp.Navigate(s.server.URL+"/"+path), chromedp.WaitVisible(css("main")))
		assert.Zero(t, eval[int](ctx, t, `document.querySelectorAll("main script, main img, main iframe, main [onerror], main [style]").length`), name)
	}
}

// Each page can be used by keyboard alone: the first stop leads past the navigation, and what is focused is seen.
func TestKeyboard(t *testing.T) {
	s := open(t)
	ctx := browser(t)
	do(ctx, t, chromedp.Navigate(s.server.URL+"/queue?of=mail"), chromedp.WaitVisible(css("main")), chromedp.KeyEvent("\t"))
	assert.Equal(t, "skip", eval[string](ctx, t, `document.activeElement.className`))
	do(ctx, t, chromedp.KeyEvent("\r"), chromedp.KeyEvent("\t"))
	assert.True(t, eval[bool](ctx, t, `document.querySelector("main").contains(document.activeElement)`))
	for range 30 { // to what pauses the queue
		if eval[bool](ctx, t, `document.activeElement.matches("details.sure > summary")`) {
			break
		}
		do(ctx, t, chromedp.KeyEvent("\t"))
	}
	assert.NotEqual(t, "none", eval[string](ctx, t, `getComputedStyle(document.activeElement).outlineStyle`))
	do(ctx, t, chromedp.KeyEvent("\r"), chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"), chromedp.WaitVisible(css(".note")))
	assert.Contains(t, text(ctx, t, "h1"), "paused")
}
