package redis_test

import (
	"context"
	"errors"
	neturl "net/url"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/redisserver"
)

// common is the server that tests share which do not end it.
var common struct {
	sync.Once
	*redisserver.Server
	err error
}

// url is the URL of a server for a test, which is skipped where there is none.
func url(t testing.TB) string {
	t.Helper()
	at, err := commonURL()
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	u, err := neturl.Parse(at)
	require.NoError(t, err)
	query := u.Query()
	query.Set("write_timeout", "1m") // the one server of all tests may take longer than 10 s for 64 MiB, on a machine that is busy with other work
	u.RawQuery = query.Encode()
	return u.String()
}

func commonURL() (string, error) {
	if given := os.Getenv(redisserver.URLVariable); given != "" {
		return given, nil
	}
	common.Do(func() { common.Server, common.err = redisserver.Start(context.Background(), "") })
	if common.err != nil {
		return "", common.err
	}
	return common.URL(), nil
}

// ownServer starts a server for one test.
func ownServer(t testing.TB, settings ...string) *redisserver.Server {
	t.Helper()
	s, err := redisserver.Start(t.Context(), "", settings...)
	if errors.Is(err, redisserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
