// Package pgserver starts PostgreSQL servers for tests and benchmarks, with the binaries that are on the machine.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/omniq-go/omniq/internal/daemon"
)

// URLVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const URLVariable = "OMNIQ_TEST_POSTGRES_URL"

// ErrMissing says that the machine has no PostgreSQL server, and what to install.
var ErrMissing = errors.New("there is no PostgreSQL server: install the package postgresql (13 or later), so that initdb and" +
	" postgres are on PATH, or set " + URLVariable)

// Server is a PostgreSQL server of its own: on a free port, in a directory of its own, ended with this process at the
// latest. Its methods are called from one goroutine.
type Server struct {
	daemon.Daemon

	bin      string
	settings []string
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
	s := &Server{bin: bin, settings: settings}
	s.Daemon = daemon.Daemon{
		Dir: dir, Command: func(port int) *exec.Cmd { return s.postgres(context.WithoutCancel(ctx), port) }, Ready: s.ready, AtOnce: syscall.SIGQUIT,
	}
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
	if err := own(s.Dir); err != nil {
		return err
	}
	initdb := s.command(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// command is one that is done by a user who is not root: the server refuses root.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = s.Dir
	c.SysProcAttr = attributes()
	return c
}

func (s *Server) postgres(ctx context.Context, port int) *exec.Cmd {
	args := []string{
		"-D", s.data(), "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	return s.command(ctx, filepath.Join(s.bin, "postgres"), args...)
}

// ready asks the server's file, in which it says that it takes connections.
func (s *Server) ready(context.Context) error {
	pid, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if lines := strings.Split(string(pid), "\n"); err == nil && (len(lines) <= 7 || strings.TrimSpace(lines[7]) != "ready") {
		err = errors.New("it is starting")
	}
	return err
}

// Stop ends the server in an orderly way, without waiting for its clients. Start starts it again.
func (s *Server) Stop() error { return s.End(os.Interrupt) }

// URL is what a client connects to, as a user who may do everything.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.Port())
}
