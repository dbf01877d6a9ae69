// Package daemon runs servers for tests and benchmarks: each as a process that ends with this one at the latest, on a free port, in a
// directory of its own.
package daemon

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
	"syscall"
	"time"
)

// Daemon is a server's process. Its methods are called from one goroutine. Dir, Command, Ready and AtOnce are set before the first Start.
type Daemon struct {
	Dir     string                          // Close removes it
	Command func(port int) *exec.Cmd        // is called at each try, and is to outlast the context of Start
	Ready   func(ctx context.Context) error // fails as long as the server does not take connections
	AtOnce  syscall.Signal                  // ends the server as a crash does

	port     int
	process  *exec.Cmd
	ended    chan struct{} // closed when the process has ended
	watchdog *exec.Cmd
	lifeline io.Closer // of the watchdog
}

// FreePort is a port that nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// tries is how often a new server is started while somebody else has its port.
const tries = 10

// Start starts the server, and returns when it takes connections: again on the port that it had, if it has been started before. An error has
// in it what the server has written.
func (d *Daemon) Start(ctx context.Context) error {
	fresh := d.port == 0
	for try := 1; ; try++ {
		err := d.start(ctx)
		if err == nil || !fresh || try == tries || !strings.Contains(err.Error(), "in use") || ctx.Err() != nil {
			return err
		}
		d.port = 0 // somebody else has it by now
	}
}

func (d *Daemon) start(ctx context.Context) (err error) {
	if d.port == 0 {
		if d.port, err = FreePort(); err != nil {
			return err
		}
	}
	log, err := os.Create(d.log())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	d.process = d.Command(d.port)
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		return err
	}
	process, ended := d.process, make(chan struct{})
	d.ended = ended
	go func() { _ = process.Wait(); close(ended) }()
	if err := d.watch(); err != nil {
		return errors.Join(err, d.Crash())
	}
	return d.ready(ctx)
}

// watch starts a process that ends the server, and removes its directory, when this process has ended without Close, in whatever way: its
// input ends then.
func (d *Daemon) watch() (err error) {
	const script = `read -r _; kill -"$2" "$0"; while kill -0 "$0"; do sleep 0.1; done 2>/dev/null; rm -rf "$1"`
	d.watchdog = exec.Command("sh", "-c", script, strconv.Itoa(d.process.Process.Pid), d.Dir, strconv.Itoa(int(d.AtOnce)))
	if d.lifeline, err = d.watchdog.StdinPipe(); err != nil {
		return err
	}
	return d.watchdog.Start()
}

func (d *Daemon) ready(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-d.ended:
			err = errors.New("the server has ended")
		case <-ctx.Done():
			err = ctx.Err()
		}
		return errors.Join(fmt.Errorf("start %s: %w: %s", filepath.Base(d.process.Path), err, d.Log()), d.Crash())
	}
}

// Port is where the server listens, 0 before it was started.
func (d *Daemon) Port() int { return d.port }

// Addr is its host and port.
func (d *Daemon) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)) }

func (d *Daemon) log() string { return filepath.Join(d.Dir, "log") }

// Log is what the server has written since it was started last.
func (d *Daemon) Log() string {
	log, _ := os.ReadFile(d.log())
	return string(log)
}

// Signal sends the server a signal.
func (d *Daemon) Signal(signal os.Signal) error { return d.process.Process.Signal(signal) }

// End ends the server by a signal, and waits until it has. Start starts it again.
func (d *Daemon) End(signal os.Signal) error {
	if d.watchdog != nil && d.watchdog.Process != nil {
		_ = d.watchdog.Process.Kill()
		_ = d.watchdog.Wait()
		_ = d.lifeline.Close()
	}
	err := d.Signal(signal)
	<-d.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Crash ends the server at once, as a crash of it does. Start starts it again.
func (d *Daemon) Crash() error { return d.End(d.AtOnce) }

// Close ends the server and removes its directory.
func (d *Daemon) Close() error { return errors.Join(d.Crash(), os.RemoveAll(d.Dir)) }
