package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/internal/daemon"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// What cannot be opened is said, with what is wrong, and without a password.
func TestOpenErrors(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	tests := []struct {
		name, url string
		opts      []redis.Option
		err       error
		message   string
	}{
		{"no URL", "redis://u:secret@[::1", nil, omniq.ErrInvalid, "the URL cannot be read"},
		{"another scheme", "http://u:secret@localhost", nil, omniq.ErrInvalid, "wrong scheme"},
		{"a database that is no number", "redis://u:secret@localhost/x", nil, omniq.ErrInvalid, "database number"},
		{"an unknown parameter", "redis://u:secret@localhost?tls=1", nil, omniq.ErrInvalid, `the parameter "tls"`},
		{"nobody there", "redis://u:secret@127.0.0.1:1", nil, nil, "refused"},
		{"nobody who answers", "redis://u:secret@" + l.Addr().String(), nil, context.DeadlineExceeded, ""},
		{"a wrong password", strings.Replace(url(t), "redis://", "redis://u:secret@", 1), nil, nil, "WRONGPASS"},
		{"an empty namespace", url(t), []redis.Option{redis.WithNamespace("")}, omniq.ErrInvalid, `namespace "", want 1 to 48`},
		{"a namespace with a brace", url(t) + "&namespace=a}b", nil, omniq.ErrInvalid, "want 1 to 48"},
		{"events for no time", url(t), []redis.Option{redis.WithEvents(0)}, omniq.ErrInvalid, "events are to be kept for 0s"},
		{"polls without a pause", url(t), []redis.Option{redis.WithPollInterval(0)}, omniq.ErrInvalid, "poll interval"},
		{"no replicas", url(t), []redis.Option{redis.WaitReplicas(0, time.Second)}, omniq.ErrInvalid, "at least one replica"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			within := time.Minute
			if errors.Is(tt.err, context.DeadlineExceeded) {
				within = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			_, err := redis.Open(ctx, tt.url, tt.opts...)
			require.ErrorContains(t, err, tt.message)
			require.ErrorContains(t, err, "redis: ")
			require.NotContains(t, err.Error(), "secret")
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
		})
	}
}

// connect returns a client of the test's own.
func connect(t testing.TB, at string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(at)
	require.NoError(t, err)
	option.DisableCache = true
	c, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// do sends a command.
func do(t testing.TB, c rueidis.Client, words ...string) {
	t.Helper()
	require.NoError(t, c.Do(context.Background(), c.B().Arbitrary(words...).Build()).Error())
}

// A server that would drop tasks is refused, with what to do.
func TestOpenRefusesEviction(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		s := ownServer(t, "--maxmemory-policy", policy, "--maxmemory", "100mb")
		_, err := redis.Open(t.Context(), s.URL())
		require.ErrorIs(t, err, redis.ErrServer)
		require.ErrorContains(t, err, "maxmemory-policy is "+policy)
		require.ErrorContains(t, err, "CONFIG SET maxmemory-policy noeviction")
		b, err := redis.Open(t.Context(), s.URL(), redis.WithUnsafe(), redis.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		require.NoError(t, b.Close())
	}
}

// A replica is refused, with the name of its master; and writes that replicas do not have are not acknowledged.
func TestReplicas(t *testing.T) {
	t.Parallel()
	master := ownServer(t, "--repl-diskless-sync-delay", "0")
	replica := ownServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port()))
	waitReplica(t, replica) // one that loads refuses everybody
	_, err := redis.Open(t.Context(), replica.URL())
	require.ErrorIs(t, err, redis.ErrServer)
	require.ErrorContains(t, err, "it is a replica of "+master.Addr())

	b, err := redis.Open(t.Context(), master.URL(), redis.WaitReplicas(1, 5*time.Second), redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	errs, err := b.Enqueue(t.Context(), batch(3))
	require.NoError(t, err)
	require.Nil(t, errs)
	require.NoError(t, b.Close())

	b, err = redis.Open(t.Context(), master.URL(), redis.WaitReplicas(2, time.Second), redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	tasks := batch(1)
	_, err = b.Enqueue(t.Context(), tasks)
	require.ErrorIs(t, err, omniq.ErrUncertain)
	require.ErrorContains(t, err, "1 of 2 replicas")
	_, err = b.Inspect(t.Context(), tasks[0].ID)
	require.NoError(t, err, "it is there, and who looks waits for nobody")
	leases := lease(t, b, 1, 0)
	require.Len(t, leases, 1, "what is handed out reaches who works it, whatever replicas do")
	require.NoError(t, b.Close())
}

// What a newer version has begun is not gone on with.
func TestOpenRefusesNewerFormat(t *testing.T) {
	t.Parallel()
	name := namespace(t)
	b := openIn(t, name)
	require.NoError(t, b.Close())
	c := connect(t, url(t))
	do(t, c, "SET", "{"+name+"}:format", "2")
	_, err := redis.Open(t.Context(), url(t), redis.WithNamespace(name))
	require.ErrorIs(t, err, redis.ErrServer)
	require.ErrorContains(t, err, "newer version")
	do(t, c, "SET", "{"+name+"}:format", "1")
}

// What is survived is what the server's settings say, and it is told what may be lost.
func TestSurvives(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		settings []string
		survives omniq.Survival
		warns    bool
	}{
		{nil, omniq.SurvivesProcess, true},
		{[]string{"--appendonly", "yes"}, omniq.SurvivesServer, false},
		{[]string{"--appendonly", "yes", "--appendfsync", "always"}, omniq.SurvivesPower, false},
	} {
		s := ownServer(t, tt.settings...)
		var log strings.Builder
		b, err := redis.Open(t.Context(), s.URL(), redis.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, err)
		assert.Equal(t, tt.survives, b.Capabilities().Survives)
		require.NoError(t, b.Close())
		assert.Equal(t, tt.warns, strings.Contains(log.String(), "append-only file"), log.String())
	}
}

// live takes a task through a life, with all that pushes.
func live(t *testing.T, b omniq.Backend) {
	t.Helper()
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	double := omniq.DefineArgs("double", func(_ context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
	w, err := omniq.NewWorker(b, omniq.Handlers(double), omniq.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for i := range 10 {
		h, err := double.Enqueue(t.Context(), client, omniq.MakeArgs1(i), omniq.Unique(strconv.Itoa(i)))
		require.NoError(t, err)
		n, err := h.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*i, n)
	}
	stop()
	require.NoError(t, <-done)
}

// rights are those that the package says.
const rights = "+@read +@write +@scripting +@pubsub +@connection -@dangerous +time +info +wait +config|get"

// A user needs no more rights than the package says.
func TestUser(t *testing.T) {
	t.Parallel()
	s := ownServer(t)
	c := connect(t, s.URL())
	do(t, c, strings.Fields("ACL SETUSER worker on >secret ~{shop}:* &{shop}:c:* "+rights)...)
	b, err := redis.Open(t.Context(), "redis://worker:secret@"+s.Addr()+"/?namespace=shop", redis.WithEvents(time.Hour),
		redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	live(t, b)
	require.NoError(t, b.Close())

	do(t, c, strings.Fields("ACL SETUSER deaf on >secret ~{shop}:* "+rights)...)
	_, err = redis.Open(t.Context(), "redis://deaf:secret@"+s.Addr()+"?namespace=shop")
	require.ErrorContains(t, err, "which the user must be allowed", "it would fail in the middle of a script")
}

// The engine opens what a configuration names.
func TestEngine(t *testing.T) {
	t.Parallel()
	name := namespace(t)
	for _, at := range []string{url(t), strings.Replace(url(t), "redis:", "valkey:", 1)} {
		c := omniq.DefaultConfig()
		c.BackendURL, c.Events = at+"&namespace="+name, time.Hour
		b, err := c.Open(t.Context(), redis.Engine)
		require.NoError(t, err)
		assert.True(t, b.Capabilities().Events)
		_, err = b.Enqueue(t.Context(), batch(1))
		require.NoError(t, err)
		require.NoError(t, b.Close())
	}
	stats, err := openIn(t, name).Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, 2, stats[0].Ready)
}

// certificate makes a key and a certificate for this machine.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certFile, keyFile
}

// A server with TLS is one as others, and one whose certificate nobody knows is refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	s := ownServer(t, "--tls-port", redisserver.AnyPort, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert,
		"--tls-auth-clients", "no")
	c := connect(t, s.URL())
	config, err := c.Do(t.Context(), c.B().ConfigGet().Parameter("tls-port").Build()).AsStrMap()
	require.NoError(t, err)
	port := config["tls-port"]
	_, err = redis.Open(t.Context(), "rediss://127.0.0.1:"+port)
	require.ErrorContains(t, err, "certificate")
	b, err := redis.Open(t.Context(), "rediss://127.0.0.1:"+port+"?skip_verify=1", redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	live(t, b)
	require.NoError(t, b.Close())
}

// startSentinel starts a Sentinel that watches a master, and returns the URL of what it knows.
func startSentinel(t *testing.T, master *redisserver.Server) string {
	t.Helper()
	path, err := redisserver.Path()
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	s := &daemon.Daemon{Dir: dir, AtOnce: syscall.SIGKILL}
	s.Command = func(port int) *exec.Cmd {
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor tasks 127.0.0.1 %d 1\n"+
			"sentinel down-after-milliseconds tasks 1000\nsentinel failover-timeout tasks 5000\n", port, dir, master.Port()), 0o600))
		return exec.Command(path, file, "--sentinel")
	}
	s.Ready = func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", s.Addr())
		if err != nil {
			return err
		}
		return c.Close()
	}
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return "redis://" + s.Addr() + "?master_set=tasks"
}

// openSentinel opens what a Sentinel knows, once that is so far.
func openSentinel(t *testing.T, at string) (b *redis.Backend) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		b, err = redis.Open(t.Context(), at, redis.WithLogger(slog.New(slog.DiscardHandler)))
		return err == nil
	}, time.Minute, 20*time.Millisecond, "%v", err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// Sentinels say which server it is, and which one when that is gone: who works goes on there.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master := ownServer(t, "--repl-diskless-sync-delay", "0")
	replica := ownServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port()))
	waitReplica(t, replica)
	at := startSentinel(t, master)
	b := openSentinel(t, at)
	live(t, b)
	tasks := batch(1)
	_, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	heard := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		_, err := b.Await(ctx, tasks[0].ID)
		for err != nil && ctx.Err() == nil { // there is no server
			<-tick.C
			_, err = b.Await(ctx, tasks[0].ID)
		}
		heard <- err
	}()

	m := connect(t, master.URL())
	sentinelKnows(t, at, replica)
	require.NoError(t, m.Dedicated(func(c rueidis.DedicatedClient) error { // WAIT is about what its own connection has written, and what was before
		if err := c.Do(t.Context(), c.B().Set().Key("last").Value("1").Build()).Error(); err != nil {
			return err
		}
		n, err := c.Do(t.Context(), c.B().Wait().Numreplicas(1).Timeout(60_000).Build()).AsInt64()
		assert.EqualValues(t, 1, n)
		return err
	}))
	require.NoError(t, master.Crash())
	require.Eventually(t, func() bool {
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Minute, WorkerID: "w"})
		if err != nil || len(leases) == 0 {
			return false
		}
		settle(t, b, leases)
		return true
	}, time.Minute, 20*time.Millisecond, "the replica has the task, and takes over")
	require.NoError(t, <-heard, "who waits hears of it there")
	live(t, b)
}

// sentinelKnows waits until a Sentinel knows of a replica, which it can promote then.
func sentinelKnows(t *testing.T, at string, replica *redisserver.Server) {
	t.Helper()
	u, _, _ := strings.Cut(at, "?")
	option, err := rueidis.ParseURL(u)
	require.NoError(t, err)
	option.DisableCache, option.ForceSingleClient = true, true
	c, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.Eventually(t, func() bool {
		known, err := c.Do(t.Context(), c.B().Arbitrary("SENTINEL", "REPLICAS", "tasks").Build()).ToArray()
		if err != nil || len(known) == 0 {
			return false
		}
		of, err := known[0].AsStrMap()
		return err == nil && of["port"] == strconv.Itoa(replica.Port()) && of["master-link-status"] == "ok"
	}, time.Minute, 20*time.Millisecond)
}
