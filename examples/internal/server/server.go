// Package server gives the examples' tests a PostgreSQL server.
package server

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/pgserver"
)

// URL returns the URL of a server: the one that the environment names, or a new one with these settings, which ends with the test.
// Without either the test is skipped.
func URL(t *testing.T, settings ...string) string {
	t.Helper()
	if url := os.Getenv(pgserver.URLVariable); url != "" {
		return url
	}
	s, err := pgserver.Start(t.Context(), "", settings...)
	if errors.Is(err, pgserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s.URL()
}
