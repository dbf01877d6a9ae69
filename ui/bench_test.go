package ui_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/ui"
)

// Pages over many tasks. A handler that is new each time has nothing to share: this is what a first look costs.
func BenchmarkPages(b *testing.B) {
	const tasks = 100_000
	backend := memory.New()
	b.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(b, err)
	ref := omniq.ReferArgs[omniq.Args1[int], int]("mail.send")
	for range tasks / 1000 {
		batch := make([]omniq.Task[omniq.Args1[int], omniq.NoKwargs], 1000)
		for i := range batch {
			batch[i], err = ref.Task(omniq.MakeArgs1(i))
			require.NoError(b, err)
		}
		_, err := ref.EnqueueMany(b.Context(), client, batch)
		require.NoError(b, err)
	}
	for name, path := range map[string]string{
		"queues": "queues", "tasks": "tasks", "by name": "tasks?q=name:mail.send", "text that is not there": "tasks?q=nothing", "errors": "errors",
		"workers": "workers", "flows": "flows", "metrics": "metrics", "count": "confirm?do=cancel",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h, err := ui.New(client, ui.Always(ui.Everything), ui.Logger(slog.New(slog.DiscardHandler)))
				require.NoError(b, err)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/"+path, nil))
				require.Equal(b, http.StatusOK, w.Code)
			}
		})
	}
}
