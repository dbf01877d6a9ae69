// Package children runs an example in several processes: the first one starts the others.
package children

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program says how the others are started.
type Program struct {
	Name   string
	Args   []string
	Env    []string  // beside that of this process: everybody can see arguments, and a password in them
	Output io.Writer // of what they have to say, and of which of them end
}

// Run starts the program that runs, n times, and stops these processes when ctx ends. One that ends before, or is killed, is reported,
// and the others go on. Without any left Run returns an error.
func (p *Program) Run(ctx context.Context, n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var pids []string
	for range n {
		c := exec.CommandContext(ctx, self, p.Args...)
		c.Env = append(os.Environ(), p.Env...)
		c.Stderr = p.Output
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
		c.WaitDelay = 10 * time.Second // from then on to be killed
		if _, err := c.StdinPipe(); err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		pids = append(pids, strconv.Itoa(c.Process.Pid))
		running.Go(func() {
			_ = c.Wait() // what there is to say of it is in the state
			if ctx.Err() == nil || killed(c.ProcessState) {
				fmt.Fprintf(p.Output, "%s: worker process %d has ended: %v\n", p.Name, c.Process.Pid, c.ProcessState)
			}
		})
	}
	fmt.Fprintf(p.Output, "worker processes: %s\n", strings.Join(pids, " "))
	running.Wait()
	if ctx.Err() == nil {
		return errors.New("no worker process is left")
	}
	return nil
}

// killed reports whether a process was ended by what it could not catch, also while it was asked to stop.
func killed(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// WithParent returns a context that ends with the process that has started this one by Run, even if that is killed: it holds the
// other end of the standard input.
func WithParent(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return ctx, stop
}
