package redisserver_test

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/redisserver"
)

// A server takes connections until it is ended, and again after that on the same port.
func TestServer(t *testing.T) {
	s, err := redisserver.Start(t.Context(), "")
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	before := s.URL()
	dial := func() error {
		c, err := net.Dial("tcp", s.Addr())
		if err == nil {
			err = c.Close()
		}
		return err
	}
	require.NoError(t, dial())
	require.NoError(t, s.Crash())
	require.Error(t, dial())
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, dial())
	assert.Equal(t, before, s.URL())
}

// A server that cannot start says why.
func TestServerFails(t *testing.T) {
	_, err := redisserver.Start(t.Context(), "", "--no-such-setting", "1")
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	assert.ErrorContains(t, err, "no-such-setting")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	_, err = redisserver.Start(t.Context(), "", "--cluster-enabled", "yes", "--cluster-port", port)
	assert.ErrorContains(t, err, "in use")
}
