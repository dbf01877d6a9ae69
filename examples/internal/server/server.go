// Package server gives the examples' tests a PostgreSQL or Redis server.
package server

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/pgserver"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// URL returns the URL of a PostgreSQL server: the one that the environment names, or a new one, which ends with the test. Without
// either the test is skipped.
func URL(t *testing.T) string {
	t.Helper()
	return With(t)
}

// With is URL with settings for a new server.
func With(t *testing.T, settings ...string) string {
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

// Redis is URL for a Redis server that keeps what it has acknowledged when it ends. In one that the environment names it is a new namespace.
func Redis(t *testing.T) string {
	t.Helper()
	if url := os.Getenv(redisserver.URLVariable); url != "" {
		sign := "?"
		if strings.Contains(url, sign) {
			sign = "&"
		}
		return url + sign + "namespace=test-" + uuid.NewString()
	}
	s, err := redisserver.Start(t.Context(), "", "--appendonly", "yes")
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s.URL()
}
