// Package redisserver starts Redis or Valkey servers for tests and benchmarks, with the binary that is on the machine.
package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// URLVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const URLVariable = "OMNIQ_TEST_REDIS_URL"

// ErrMissing says that the machine has no server, and what to install.
var ErrMissing = errors.New("there is no Redis server: install the package redis-server (7.0 or later) or valkey, so that redis-server" +
	" or valkey-server is on PATH, or set " + URLVariable)

// Server is a server of its own: on a free port, in a directory of its own, ended with this process at the latest. Its methods are
// called from one goroutine.
type Server struct {
	path     string
	dir      string
	settings []string
	port     int
	process  *exec.Cmd
	ended    chan struct{} // closed when the server has ended
	watchdog *exec.Cmd
	lifeline io.Closer // of the watchdog
}

// Path is where the server's binary is, or [ErrMissing].
func Path() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrMissing
}

// Start starts a server with settings like "--appendonly", "yes", in a new directory inside of dir, which is the system's for
// temporary files if it is empty, and returns when it answers. It takes no snapshots unless they say so. The caller ends it by Close.
func Start(ctx context.Context, dir string, settings ...string) (*Server, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "redis")
	if err != nil {
		return nil, err
	}
	s := &Server{path: path, dir: dir, settings: settings}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Start starts the server again, on the port that it had, and returns when it answers.
func (s *Server) Start(ctx context.Context) error {
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
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", ""}, s.settings...)
	s.process = exec.CommandContext(context.WithoutCancel(ctx), s.path, args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return err
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() { _ = process.Wait(); close(ended) }()
	if err := s.watch(); err != nil {
		return errors.Join(err, s.Crash())
	}
	return s.ready(ctx)
}

// watch starts a process that ends the server, and removes its directory, when this process has ended without Close, in whatever way:
// its input ends then.
func (s *Server) watch() (err error) {
	const script = `read -r _; kill -KILL "$0"; rm -rf "$1"`
	s.watchdog = exec.Command("sh", "-c", script, strconv.Itoa(s.process.Process.Pid), s.dir)
	if s.lifeline, err = s.watchdog.StdinPipe(); err != nil {
		return err
	}
	return s.watchdog.Start()
}

// ready waits until the server answers: while it reads what it has kept it only says so.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx, s.Addr())
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

func ping(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	end, _ := ctx.Deadline()
	if err := c.SetDeadline(end); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "+PONG\r\n" {
		err = fmt.Errorf("it answers %q", line)
	}
	return err
}

// Addr is its host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is where it listens.
func (s *Server) Port() int { return s.port }

// URL is what a client connects to, as a user who may do everything.
func (s *Server) URL() string { return "redis://" + s.Addr() }

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// Signal sends the server a signal.
func (s *Server) Signal(signal os.Signal) error { return s.process.Process.Signal(signal) }

// Crash ends the server as a crash does. Start starts it again.
func (s *Server) Crash() error {
	if s.watchdog != nil && s.watchdog.Process != nil {
		_ = s.watchdog.Process.Kill()
		_ = s.watchdog.Wait()
		_ = s.lifeline.Close()
	}
	err := s.Signal(syscall.SIGKILL)
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Close ends the server and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Crash(), os.RemoveAll(s.dir)) }
