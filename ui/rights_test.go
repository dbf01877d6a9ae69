package ui

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// needed is what each route needs besides View. It is said once more here: a route that is new, or that asks for less, is seen.
var needed = map[string]Rights{
	"GET ": View, "GET queues": View, "GET queue": View, "GET tasks": View, "GET task": View, "GET flows": View, "GET flow": View, "GET schedules": View,
	"GET schedule": View, "GET errors": View, "GET workers": View, "GET events": View, "GET metrics": View,
	"GET confirm": Act, "GET copy": Edit | Payloads,
	"POST queue-pause": Act, "POST queue-resume": Act, "POST queue-limit": Edit,
	"POST task-cancel": Act, "POST task-requeue": Act, "POST task-run": Act, "POST task-back": Act, "POST task-forget": Act, "POST task-free": Act,
	"POST copy": Edit | Payloads, "POST bulk": Act,
	"POST flow-cancel": Act, "POST flow-requeue": Act, "POST flow-retry": Act,
	"POST schedule-pause": Act, "POST schedule-resume": Act, "POST schedule-trigger": Act, "POST schedule-backfill": Act,
	"POST schedule-delete": Edit,
}

// Each route is served to those who have the right, and to nobody else: where it is done, not where its button is drawn.
func TestRightsOfRoutes(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	seen := make(map[string]bool)
	for rights := range Everything + 1 {
		h, err := New(client, Always(rights), Logger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		h.Close() // live updates end at once
		for _, to := range h.routes() {
			name := to.method + " " + to.path
			want, known := needed[name]
			require.True(t, known, "%s is in no table of rights", name)
			seen[name] = true
			status := send(h, to.method, to.path)
			if rights.Has(want | View) {
				assert.NotEqual(t, http.StatusForbidden, status, "%s with %v", name, rights)
			} else {
				assert.Equal(t, http.StatusForbidden, status, "%s with %v", name, rights)
			}
		}
	}
	assert.Len(t, seen, len(needed))
}

func send(h http.Handler, method, path string) int {
	w := httptest.NewRecorder()
	target := "http://localhost/" + path
	if path == "events" {
		target += "?page=queues"
	}
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader("")))
	return w.Code
}

func TestRights(t *testing.T) {
	for _, tt := range []struct {
		has, other Rights
		want       bool
	}{
		{View, View, true}, {Everything, Act | Edit, true}, {View | Act, Act, true}, {View | Act, Edit, false}, {View | Act, Act | Edit, false},
		{Act, Act, false}, {0, 0, false}, {View, 0, true}, {Act | Edit | Payloads, View, false},
	} {
		assert.Equal(t, tt.want, tt.has.Has(tt.other), "%v has %v", tt.has, tt.other)
	}
	assert.Equal(t, "view+act+edit+payloads", Everything.String())
	assert.Equal(t, "none", Rights(0).String())
	assert.Equal(t, "view+payloads", fmt.Sprint(View|Payloads))
}

func TestReadOnly(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h, err := New(client, Always(Everything), ReadOnly(), Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	for _, to := range h.routes() {
		if to.method == http.MethodPost {
			assert.Equal(t, http.StatusForbidden, send(h, to.method, to.path), to.path)
		}
	}
}

func TestNew(t *testing.T) {
	client := new(omniq.Client)
	for name, make := range map[string]func() (*Handler, error){
		"no client":    func() (*Handler, error) { return New(nil, Always(View)) },
		"no rights":    func() (*Handler, error) { return New(client, nil) },
		"no host":      func() (*Handler, error) { return New(client, Always(View), Hosts("")) },
		"an address":   func() (*Handler, error) { return New(client, Always(View), Hosts("https://ops.example")) },
		"no logger":    func() (*Handler, error) { return New(client, Always(View), Logger(nil)) },
		"a nil option": func() (*Handler, error) { return New(client, Always(View), nil) },
	} {
		_, err := make()
		require.ErrorIs(t, err, omniq.ErrInvalid, name)
	}
}
