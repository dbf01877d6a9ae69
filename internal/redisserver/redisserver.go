// Package redisserver starts Redis servers for tests and benchmarks, with the binary that is on the machine.
package redisserver

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/omniq-go/omniq/internal/daemon"
)

// URLVariable names the environment variable with the URL of a server that is to be used instead of a new one.
const URLVariable = "OMNIQ_TEST_REDIS_URL"

// AnyPort among the settings of a server is a port that nobody listens on: another one at each start.
const AnyPort = "any port"

// ErrMissing says that the machine has no Redis server, and what to install.
var ErrMissing = errors.New("there is no Redis server: install the package redis-server (7.0 or later) or valkey-server (7.2 or later), so" +
	" that redis-server or valkey-server is on PATH, or set " + URLVariable)

// Server is a Redis server of its own: on a free port, in a directory of its own, ended with this process at the latest. It takes no
// snapshots. Its methods are called from one goroutine.
type Server struct{ daemon.Daemon }

// Start starts a server with settings like "--appendonly", "yes", in a new directory inside of dir, which is the system's for temporary
// files if it is empty, and returns when it answers. The caller ends it by Close.
func Start(ctx context.Context, dir string, settings ...string) (*Server, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "redis"); err != nil {
		return nil, err
	}
	s := new(Server)
	s.Daemon = daemon.Daemon{Dir: dir, Ready: s.ping, AtOnce: syscall.SIGKILL, Command: func(port int) *exec.Cmd {
		args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", ""}
		settings, err := choosePorts(settings)
		c := exec.CommandContext(context.WithoutCancel(ctx), path, append(args, settings...)...)
		c.Err = errors.Join(c.Err, err)
		return c
	}}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// choosePorts returns settings with a port for each AnyPort.
func choosePorts(settings []string) ([]string, error) {
	settings = slices.Clone(settings)
	for i, s := range settings {
		if s != AnyPort {
			continue
		}
		port, err := daemon.FreePort()
		if err != nil {
			return nil, err
		}
		settings[i] = strconv.Itoa(port)
	}
	return settings, nil
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

// URL is what a client connects to, as a user who may do everything.
func (s *Server) URL() string { return "redis://" + s.Addr() }
