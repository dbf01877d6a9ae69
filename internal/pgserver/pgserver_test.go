package pgserver_test

import (
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/pgserver"
)

// A server takes connections until it is stopped, and again after that on the same port.
func TestServer(t *testing.T) {
	s, err := pgserver.Start(t.Context(), "", "fsync=off")
	if errors.Is(err, pgserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	before := s.URL()
	for _, end := range []func() error{s.Stop, s.Crash} {
		require.NoError(t, dial(s))
		require.NoError(t, end())
		require.Error(t, dial(s))
		require.NoError(t, s.Start(t.Context()))
		assert.Equal(t, before, s.URL())
	}
	assert.Contains(t, s.Log(), "recovery", "it was not stopped in an orderly way")
}

// A server that cannot start says why.
func TestServerFails(t *testing.T) {
	_, err := pgserver.Start(t.Context(), "", "no_such_setting=1")
	if errors.Is(err, pgserver.ErrMissing) {
		t.Skip(err)
	}
	assert.ErrorContains(t, err, "no_such_setting")
}

func dial(s *pgserver.Server) error {
	u, err := url.Parse(s.URL())
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	return c.Close()
}
