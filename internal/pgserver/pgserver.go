// Package pgserver starts PostgreSQL servers for tests and benchmarks, with the binaries that are on the machine.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// URLVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const URLVariable = "OMNIQ_TEST_POSTGRES_URL"

// ErrMissing says that the machine has no PostgreSQL server, and what to install.
var ErrMissing = errors.New("there is no PostgreSQL server: install the package postgresql (13 or later), so that initdb and" +
	" postgres are on PATH, or set " + URLVariable)

// Server is a PostgreSQL server of its own: on a free port, in a directory of its own, ended with this process at the
// latest. Its methods are called from one goroutine.
type Server struct {
	bin      string
	dir      string
	settings []string
	port     int
	server   *exec.Cmd
	ended    chan struct{} // closed when the server has ended
	watchdog *exec.Cmd
	lifeline io.Closer // of the watchdog
}

// Start makes a database cluster in a new directory inside of dir, which is the system's for temporary files if it is
// empty, and starts a server for it with settings like "fsync=off". Where the caller is root, dir must be open to
// others: a test's own directory is not. The caller ends the server by Close.
func Start(ctx context.Context, dir string, settings ...string) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, settings: settings}
	if err := s.create(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Check returns [ErrMissing] if the machine has no server for Start.
func Check() error {
	_, err := find()
	return err
}

// find returns the directory of the server's binaries: on PATH, or where Debian's packages have them, the newest first.
func find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func (s *Server) create(ctx context.Context) error {
	if err := own(s.dir); err != nil {
		return err
	}
	initdb := s.command(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

// command is one that is done by a user who is not root: the server refuses root.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = s.dir
	c.SysProcAttr = attributes()
	return c
}

// Start starts the server again, on the port that it had, and returns when it takes connections.
func (s *Server) Start(ctx context.Context) error {
	for {
		err := s.start(ctx)
		if err == nil || !strings.Contains(err.Error(), "Address already in use") || ctx.Err() != nil {
			return err
		}
		s.port = 0 // somebody else has it by now
	}
}

func (s *Server) start(ctx context.Context) error {
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
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{
		"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	s.server = s.command(context.WithoutCancel(ctx), filepath.Join(s.bin, "postgres"), args...)
	s.server.Stdout, s.server.Stderr = log, log
	if err := s.server.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() { _ = s.server.Wait(); close(s.ended) }()
	if err := s.watch(); err != nil {
		return errors.Join(err, s.Stop())
	}
	return s.ready(ctx)
}

// watch starts a process that ends the server, and removes its directory, when this process has ended without Close, in
// whatever way: its input ends then.
func (s *Server) watch() (err error) {
	const script = `read -r _; kill -QUIT "$0"; while kill -0 "$0"; do sleep 0.1; done; rm -rf "$1"`
	s.watchdog = exec.Command("sh", "-c", script, strconv.Itoa(s.server.Process.Pid), s.dir)
	if s.lifeline, err = s.watchdog.StdinPipe(); err != nil {
		return err
	}
	return s.watchdog.Start()
}

// ready waits until the server says in its file that it takes connections.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		pid, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
		if lines := strings.Split(string(pid), "\n"); err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" {
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
		return errors.Join(fmt.Errorf("start postgres: %w: %s", err, log), s.Crash())
	}
}

// Stop ends the server in an orderly way, without waiting for its clients. Start starts it again.
func (s *Server) Stop() error { return s.end(os.Interrupt) }

// Crash ends the server as a crash does: it has to recover when it is started again.
func (s *Server) Crash() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(signal os.Signal) error {
	if s.watchdog != nil && s.watchdog.Process != nil {
		_ = s.watchdog.Process.Kill()
		_ = s.watchdog.Wait()
		_ = s.lifeline.Close()
	}
	err := s.server.Process.Signal(signal)
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Close ends the server and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Crash(), os.RemoveAll(s.dir)) }

// URL is what a client connects to, as a user who may do everything.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Log is what the server has written since it was started last.
func (s *Server) Log() string {
	log, _ := os.ReadFile(s.log())
	return string(log)
}
