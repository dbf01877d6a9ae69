package redisserver_test

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/redisserver"
)

// A server takes connections until it ends, and again after that on the same port.
func TestServer(t *testing.T) {
	s, err := redisserver.Start(t.Context(), t.TempDir())
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	before := s.URL()
	require.NoError(t, dial(s))
	require.NoError(t, s.Crash())
	require.Error(t, dial(s))
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, dial(s))
	assert.Equal(t, before, s.URL())
}

// A server that cannot start says why.
func TestServerFails(t *testing.T) {
	_, err := redisserver.Start(t.Context(), t.TempDir(), "--no-such-setting", "1")
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	assert.ErrorContains(t, err, "no-such-setting")
}

func dial(s *redisserver.Server) error {
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return err
	}
	return c.Close()
}
