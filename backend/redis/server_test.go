package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
)

// urlVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const urlVariable = "OMNIQ_TEST_REDIS_URL"

// server is a redis-server of the tests' own: on a free port, in a directory of its own, ended with this process at the latest.
type server struct {
	dir      string
	settings []string
	port     int
	process  *exec.Cmd
	ended    chan struct{}
	watchdog *exec.Cmd
}

var errMissing = errors.New("there is no Redis server: install the package redis-server (7.0 or later) or valkey, so that redis-server or " +
	"valkey-server is on PATH, or set " + urlVariable)

func serverPath() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errMissing
}

// startServer starts a server with settings like "--appendonly yes". The caller closes it.
func startServer(settings ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, settings: settings}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// start starts it, on the port that it had.
func (s *server) start() error {
	path, err := serverPath()
	if err != nil {
		return err
	}
	if s.port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", ""}, s.settings...)
	s.process = exec.Command(path, args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return err
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() { _ = process.Wait(); close(ended) }()
	if err := s.watch(); err != nil {
		return errors.Join(err, s.kill())
	}
	return s.ready()
}

// watch starts a process that ends the server when this one has ended without close, in whatever way: its input ends then.
func (s *server) watch() error {
	const script = `read -r _; kill -KILL "$0"; rm -rf "$1"`
	s.watchdog = exec.Command("sh", "-c", script, strconv.Itoa(s.process.Process.Pid), s.dir)
	if _, err := s.watchdog.StdinPipe(); err != nil {
		return err
	}
	return s.watchdog.Start()
}

// ready waits until the server answers.
func (s *server) ready() error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr()}, ForceSingleClient: true, DisableCache: true})
		if err != nil {
			continue
		}
		err = c.Do(context.Background(), c.B().Ping().Build()).Error()
		c.Close()
		if err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("the server does not answer: %s", log)
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }
func (s *server) url() string  { return "redis://" + s.addr() }

// kill ends the server as a crash does. Start starts it again.
func (s *server) kill() error {
	if s.watchdog != nil && s.watchdog.Process != nil {
		_ = s.watchdog.Process.Kill()
		_ = s.watchdog.Wait()
	}
	err := s.process.Process.Signal(syscall.SIGKILL)
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (s *server) close() error { return errors.Join(s.kill(), os.RemoveAll(s.dir)) }

// common is the server that tests share which do not end it.
var common struct {
	sync.Once
	*server
	err error
}

// url is the URL of a server for a test, which is skipped where there is none.
func url(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(urlVariable); given != "" {
		return given
	}
	common.Do(func() { common.server, common.err = startServer() })
	if errors.Is(common.err, errMissing) {
		t.Skip(common.err)
	}
	require.NoError(t, common.err)
	return common.url()
}

// ownServer starts a server for one test.
func ownServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s, err := startServer(settings...)
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.close()) })
	return s
}
