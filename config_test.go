package omniq_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

func TestConfigFromEnv(t *testing.T) {
	c, err := omniq.ConfigFromEnv()
	require.NoError(t, err)
	assert.Equal(t, omniq.DefaultConfig(), c)
	assert.True(t, c.Schedules)
	for name, value := range map[string]string{
		"OMNIQ_BACKEND_URL": "sqlite:/tmp/x.db", "OMNIQ_QUEUES": "high, low", "OMNIQ_CONCURRENCY": "3",
		"OMNIQ_TASK_TTL": "24h", "OMNIQ_RESULT_TTL": "5m", "OMNIQ_TASK_TIMEOUT": "90s", "OMNIQ_RETRY_ATTEMPTS": "0",
		"OMNIQ_RETRY_DELAY": "2s", "OMNIQ_SHUTDOWN_TIMEOUT": "0s", "OMNIQ_EVENTS": "48h", "OMNIQ_LOG_LEVEL": "debug",
		"OMNIQ_SCHEDULES": "false",
	} {
		t.Setenv(name, value)
	}
	c, err = omniq.ConfigFromEnv()
	require.NoError(t, err)
	assert.Equal(t, omniq.Config{
		BackendURL: "sqlite:/tmp/x.db", Queues: []string{"high", "low"}, Concurrency: 3, TaskTTL: 24 * time.Hour,
		ResultTTL: 5 * time.Minute, TaskTimeout: 90 * time.Second, RetryDelay: 2 * time.Second, Events: 48 * time.Hour,
		LogLevel: slog.LevelDebug,
	}, c)
}

func TestConfigEvents(t *testing.T) {
	for value, want := range map[string]time.Duration{"true": omniq.DefaultEventRetention, "1": omniq.DefaultEventRetention, "false": 0, "2h": 2 * time.Hour} {
		t.Setenv("OMNIQ_EVENTS", value)
		c, err := omniq.ConfigFromEnv()
		require.NoError(t, err)
		assert.Equal(t, want, c.Events, value)
	}
}

// Whoever gets one variable wrong may have got others wrong, too, and wants to know at once.
func TestConfigNamesEveryMistake(t *testing.T) {
	mistakes := map[string]struct{ value, want string }{
		"OMNIQ_BACKEND_URL":      {"somewhere", `is without a scheme, want one in lower case`},
		"OMNIQ_QUEUES":           {"a,,b", `["a" "" "b"]`},
		"OMNIQ_CONCURRENCY":      {"0", "is 0, want 1 to 100000"},
		"OMNIQ_TASK_TTL":         {"10", `is "10", want a duration like 90s`},
		"OMNIQ_RESULT_TTL":       {"-1s", "is -1s, want at least 0"},
		"OMNIQ_TASK_TIMEOUT":     {"1ns", "is 1ns, want at least 1µs"},
		"OMNIQ_RETRY_ATTEMPTS":   {"many", `is "many", want a whole number`},
		"OMNIQ_RETRY_DELAY":      {"-2s", "is -2s, want at least 0"},
		"OMNIQ_SHUTDOWN_TIMEOUT": {"-3s", "is -3s, want at least 0"},
		"OMNIQ_SCHEDULES":        {"no", `is "no", want true or false`},
		"OMNIQ_EVENTS":           {"maybe", `is "maybe", want true, false or how long`},
		"OMNIQ_LOG_LEVEL":        {"loud", `is "loud", want DEBUG`},
	}
	for name, m := range mistakes {
		t.Setenv(name, m.value)
	}
	_, err := omniq.ConfigFromEnv()
	require.ErrorIs(t, err, omniq.ErrInvalid)
	for name, m := range mistakes {
		assert.ErrorContains(t, err, name)
		assert.ErrorContains(t, err, m.want)
	}
}

func TestConfigOpens(t *testing.T) {
	c := omniq.DefaultConfig()
	b, err := c.Open(t.Context(), memory.Engine)
	require.NoError(t, err)
	assert.False(t, b.Capabilities().Events)
	require.NoError(t, b.Close())

	c.Events = time.Hour
	b, err = c.Open(t.Context(), memory.Engine)
	require.NoError(t, err)
	assert.True(t, b.Capabilities().Events)
	require.NoError(t, b.Close())

	c.BackendURL = "memory:something"
	_, err = c.Open(t.Context(), memory.Engine)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	c.BackendURL = "postgres://u:secret@localhost/"
	_, err = c.Open(t.Context(), memory.Engine)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.NotContains(t, err.Error(), "secret")
	assert.ErrorContains(t, err, `this program can open the schemes ["memory"] only`)
	c.Concurrency = 0
	_, err = c.Open(t.Context(), memory.Engine)
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestConfigSchema(t *testing.T) {
	c := omniq.DefaultConfig()
	s, err := c.Schema(t.Context(), memory.Engine)
	require.NoError(t, err)
	assert.Zero(t, s, "an engine without tables")

	c.BackendURL = "shelf:x"
	want := omniq.Schema{Version: 1, Newest: 2, SQL: "ALTER"}
	shelf := omniq.Engine{Schemes: []string{"shelf"}, Schema: func(_ context.Context, url string, _ omniq.Config) (omniq.Schema, error) {
		assert.Equal(t, "shelf:x", url)
		return want, nil
	}}
	s, err = c.Schema(t.Context(), memory.Engine, shelf)
	require.NoError(t, err)
	assert.Equal(t, want, s)

	_, err = c.Schema(t.Context(), memory.Engine)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, `this program can open the schemes ["memory"] only`)
	c.Concurrency = 0
	_, err = c.Schema(t.Context(), shelf)
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestConfigReachesClientAndWorker(t *testing.T) {
	c := omniq.DefaultConfig()
	c.Queues, c.TaskTTL, c.ResultTTL, c.TaskTimeout = []string{"mail"}, time.Hour, 2*time.Hour, time.Minute
	b, err := c.Open(t.Context(), memory.Engine)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	client, err := omniq.NewClient(b, c.ClientOptions())
	require.NoError(t, err)
	seen := make(chan time.Duration, 2)
	d := omniq.DefineNoArgs("when", func(ctx context.Context) (bool, error) {
		deadline, _ := ctx.Deadline()
		seen <- time.Until(deadline)
		return true, nil
	}, omniq.Queue("mail"))
	h, err := d.Enqueue(t.Context(), client)
	require.NoError(t, err)
	info, err := client.Inspect(t.Context(), h.ID())
	require.NoError(t, err)
	assert.Equal(t, new(time.Hour), info.Task.TTL)
	assert.Equal(t, new(2*time.Hour), info.Task.ResultTTL)

	own, err := d.Enqueue(t.Context(), client, omniq.TTL(time.Minute), omniq.ResultTTL(0))
	require.NoError(t, err)
	info, err = client.Inspect(t.Context(), own.ID())
	require.NoError(t, err)
	assert.Equal(t, new(time.Minute), info.Task.TTL)
	assert.Equal(t, new(time.Duration), info.Task.ResultTTL)
	run(t, b, c.WorkerOptions(), omniq.Handlers(d))
	_, err = h.Wait(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, time.Minute, <-seen, float64(10*time.Second))

	_, err = d.Enqueue(t.Context(), client, omniq.Delay(2*time.Hour))
	require.ErrorIs(t, err, omniq.ErrInvalid, "its TTL by default ends before it is due")
	c.Concurrency = 0
	_, err = omniq.NewWorker(b, c.WorkerOptions(), omniq.Handlers(d))
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestDefaultsOfAClient(t *testing.T) {
	b := memory.New()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	for _, o := range []omniq.TaskOption{omniq.TTL(0), omniq.Priority(1), omniq.Queue("q")} {
		_, err := omniq.NewClient(b, omniq.Defaults(o))
		require.ErrorIs(t, err, omniq.ErrInvalid)
	}
}

// Of a URL that may have a password, in whatever form, nobody shows it.
func TestConfigShowsNoPassword(t *testing.T) {
	urls := []string{
		"postgres://u:hunter2@db/x", "postgres://u:hun/ter2hunter2@db/x", "postgres://db/x?user=u&password=hunter2",
		"postgresql://db/x?sslpassword=hunter2", "host=db user=u password=hunter2", "host=db password='hunter2 ' port=1",
		"host=db:1 password = hunter2", "password=hunter2:x", "hunter2@db", "u:hunter2@db/x", "memory://u:hunter2@h", "memory:?password=hunter2",
		"redis://:hunter2@db", "sqlite:q.db?_auth_pass=hunter2", "POSTGRES://u:hunter2@db", "postgres:host=db password=hunter2",
		"postgres://u:hunter2%40@db", " postgres://u:hunter2@db", "postgres:u;hunter2",
	}
	for _, url := range urls {
		t.Run(url, func(t *testing.T) {
			c := omniq.DefaultConfig()
			c.BackendURL = url
			c.Concurrency = 0 // so that there is something to complain about
			var log bytes.Buffer
			for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
				slog.New(h).Info("begins", "config", c, "pointer", &c)
			}
			shown := []string{log.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprintf("%v %#v", &c, &c)}
			err := c.Validate()
			require.Error(t, err)
			shown = append(shown, err.Error())
			c.Concurrency = 1
			if _, err := c.Open(t.Context(), memory.Engine); err != nil {
				shown = append(shown, err.Error())
			}
			t.Setenv("OMNIQ_BACKEND_URL", url)
			t.Setenv("OMNIQ_CONCURRENCY", "none")
			_, err = omniq.ConfigFromEnv()
			require.Error(t, err)
			for _, text := range append(shown, err.Error()) {
				assert.NotContains(t, text, "hunter2")
			}
		})
	}
	c := omniq.DefaultConfig()
	c.BackendURL = "sqlite:/var/lib/omniq.db"
	assert.Contains(t, fmt.Sprint(c), c.BackendURL, "there is nothing to hide")
}

func FuzzConfigShowsNoPassword(f *testing.F) {
	f.Add("postgres://u:", "@db")
	f.Add("host=db password=", " port=1")
	f.Fuzz(func(t *testing.T, before, after string) {
		c := omniq.DefaultConfig()
		c.BackendURL = before + "hunter2" + after
		if !strings.ContainsAny(c.BackendURL, "@=?") || strings.HasPrefix(c.BackendURL, "hunter2") {
			return
		}
		shown := fmt.Sprint(c)
		if err := c.Validate(); err != nil {
			shown += err.Error()
		}
		if scheme, _, _ := strings.Cut(c.BackendURL, ":"); !strings.Contains(scheme, "hunter2") {
			require.NotContains(t, shown, "hunter2")
		}
	})
}
