package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// healthz says that the process runs. It asks nobody.
func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) { health(w, http.StatusOK, "ok") }

// readyTime is how long the engine has to answer whoever asks whether it does.
const readyTime = time.Second

// readyz says whether the engine answers. Who may see nothing else gets no more than that.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	_, err := h.looks.get(ctx, "ready", freshPage, false, func(ctx context.Context) (any, error) { return nil, h.ready(ctx) })
	switch {
	case err == nil:
		health(w, http.StatusOK, "ok")
	case statusOf(err) == http.StatusGatewayTimeout:
		health(w, http.StatusServiceUnavailable, "the engine has not answered in time")
	default:
		health(w, http.StatusServiceUnavailable, "the engine has failed")
	}
}

// ready asks for a task that there is not, of which the engine says so.
func (h *Handler) ready(ctx context.Context) error {
	if _, err := h.client.Inspect(ctx, uuid.New()); !errors.Is(err, omniq.ErrNotFound) {
		return err
	}
	return nil
}

func health(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}
