// Package redisserver starts Redis servers for tests and benchmarks, with the binary that is on the machine.
package redisserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// URLVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const URLVariable = "OMNIQ_TEST_REDIS_URL"

// ErrMissing says that the machine has no Redis server, and what to install.
var ErrMissing = errors.New("there is no Redis server: install the package redis-server (7.0 or later) or valkey-server (7.2 or later), so" +
	" that redis-server or valkey-server is on PATH, or set " + URLVariable)

// Server is a Redis server of its own: on a free port, in a directory of its own, ended with this process at the latest. It takes no
// snapshots. Its methods are called from one goroutine.
type Server struct {
	dir      string
	settings []string
	port     int
	server   *exec.Cmd
	ended    chan struct{} // closed when the server has ended
	watchdog *exec.Cmd
	lifeline io.Closer // of the watchdog
}

// Start starts a server with settings like "--appendonly", "yes", in a new directory inside of dir, which is the system's for temporary
// files if it is empty, and returns when it answers. The caller ends it by Close.
func Start(ctx context.Context, dir string, settings ...string) (*Server, error) {
	dir, err := os.MkdirTemp(dir, "redis")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, settings: settings}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Path is the server's binary, and [ErrMissing] if the machine has none.
func Path() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// FreePort is a port that nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// Start starts the server again, on the port that it had.
func (s *Server) Start(ctx context.Context) error {
	for fresh := s.port == 0; ; s.port = 0 {
		err := s.start(ctx)
		if err == nil || !fresh || !strings.Contains(err.Error(), "in use") || ctx.Err() != nil { // else somebody else has it by now
			return err
		}
	}
}

func (s *Server) start(ctx context.Context) error {
	path, err := Path()
	if err != nil {
		return err
	}
	if s.port == 0 {
		if s.port, err = FreePort(); err != nil {
			return err
		}
	}
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", ""}, s.settings...)
	s.server = exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	s.server.Stdout, s.server.Stderr = log, log
	if err := s.server.Start(); err != nil {
		return err
	}
	server, ended := s.server, make(chan struct{})
	s.ended = ended
	go func() { _ = server.Wait(); close(ended) }()
	if err := s.watch(); err != nil {
		return errors.Join(err, s.Crash())
	}
	return s.ready(ctx)
}

// watch starts a process that ends the server, and removes its directory, when this process has ended without Close, in whatever way: its
// input ends then.
func (s *Server) watch() (err error) {
	const script = `read -r _; kill -KILL "$0"; rm -rf "$1"`
	s.watchdog = exec.Command("sh", "-c", script, strconv.Itoa(s.server.Process.Pid), s.dir)
	if s.lifeline, err = s.watchdog.StdinPipe(); err != nil {
		return err
	}
	return s.watchdog.Start()
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-s.ended:
			err = errors.New("the server has ended")
		case <-ctx.Done():
			err = ctx.Err()
		}
		log, _ := os.ReadFile(s.log())
		return errors.Join(fmt.Errorf("start redis: %w: %s", err, log), s.Crash())
	}
}

func (s *Server) ping(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	answer := make([]byte, len("+PONG"))
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != "+PONG" { // it loads what it has kept
		return errors.New(string(answer))
	}
	return nil
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the port of Addr.
func (s *Server) Port() int { return s.port }

// URL is what a client connects to, as a user who may do everything.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Signal sends a signal to the server.
func (s *Server) Signal(signal os.Signal) error { return s.server.Process.Signal(signal) }

// Crash ends the server at once: what it has not written is lost. Start starts it again.
func (s *Server) Crash() error {
	if s.watchdog != nil && s.watchdog.Process != nil {
		_ = s.watchdog.Process.Kill()
		_ = s.watchdog.Wait()
		_ = s.lifeline.Close()
	}
	err := s.server.Process.Kill()
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Close ends the server and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Crash(), os.RemoveAll(s.dir)) }
