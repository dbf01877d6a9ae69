package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

const (
	pausedVariable = "OMNIQ_POSTGRES_PAUSED" // what the child does, and the place of its backend
	pausedLease    = time.Second
)

var answer = omniq.ReferNoArgs[string]("answer")

// pausedChild does the work of a process that TestPausedWorker has started, and does not return in it. It tells by its
// output when it has a task and what has become of it, and goes on when it is given a line.
func pausedChild() {
	what, place, ok := strings.Cut(os.Getenv(pausedVariable), " ")
	if !ok {
		return
	}
	lines := make(chan string)
	go func() {
		in := bufio.NewReader(os.Stdin)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				os.Exit(1) // who is left alone ends
			}
			lines <- line
		}
	}()
	b, err := openCrash(place)
	if err == nil {
		err = errors.Join(paused(b, what, lines), b.Close())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func paused(b omniq.Backend, what string, lines <-chan string) error {
	if what == "settles" {
		leases, err := b.Lease(context.Background(), omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: pausedLease, Wait: time.Minute, WorkerID: "paused",
		})
		if err != nil || len(leases) != 1 {
			return fmt.Errorf("%d leases, %w", len(leases), err)
		}
		fmt.Println("begun")
		<-lines
		l := leases[0]
		errs, err := b.Settle(context.Background(), []omniq.Settlement{{
			LeaseID: l.LeaseID, Action: omniq.ActionFinish,
			Result: &omniq.RawResult{
				TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(`"paused"`), Timestamp: time.Now().UTC(),
				Attempts: l.Attempt,
			},
		}})
		fmt.Println("ended:", err, errs)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	handler := omniq.DefineNoArgs(answer, func(ctx context.Context) (string, error) {
		fmt.Println("begun")
		if what == "watches" {
			<-ctx.Done()
			fmt.Println("cause:", context.Cause(ctx))
		} else {
			<-lines
		}
		stop()
		return "paused", nil
	})
	w, err := omniq.NewWorker(b, omniq.Handlers(handler), omniq.LeaseDuration(pausedLease), omniq.Concurrency(1),
		omniq.WorkerID("paused"), omniq.Logger(slog.New(slog.NewTextHandler(os.Stdout, nil))))
	if err == nil {
		err = w.Run(ctx)
	}
	fmt.Println("ended:", err)
	return nil
}

// A process that is stopped for longer than its lease, and goes on as if nothing had been, changes nothing: another one
// has got the task, and its result is the one.
func TestPausedWorker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, what string
		late       bool   // the process goes on when the other one has finished the task, and not while it works on it
		rule, says string // a regular expression
	}{
		{"settles", "settles", false, "a lease that has run out settles nothing, though the task is there", omniq.ErrLeaseLost.Error()},
		{"settles late", "settles", true, "a lease that has run out settles nothing", omniq.ErrLeaseLost.Error()},
		{"returns", "returns", false, "a worker drops what a handler returns that has lost its lease", "(the lease is|its lease) lost"}, // the call may have been on its way
		{"watches", "watches", true, "a handler's context ends when the lease is lost", "cause: " + omniq.ErrLeaseLost.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, schema := url(t), schema(t)
			place := schema + " " + url + " events"
			b := openAt(t, url, schema, postgres.WithEvents(time.Hour))
			client, err := omniq.NewClient(b)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()

			child := startPaused(t, c.what+" "+place)
			h, err := answer.Enqueue(ctx, client)
			require.NoError(t, err)
			child.read(ctx, "begun")
			require.NoError(t, child.cmd.Process.Signal(syscall.SIGSTOP))

			begun, finish := make(chan struct{}), make(chan struct{})
			stop := work(t, b, omniq.Handlers(omniq.DefineNoArgs(answer, func(context.Context) (string, error) {
				close(begun)
				<-finish
				return "second", nil
			})))
			select {
			case <-begun:
			case <-ctx.Done():
				t.Fatal("the task is not handed out again")
			}
			if c.late {
				close(finish)
				_, err := h.Wait(ctx)
				require.NoError(t, err)
			}
			require.NoError(t, child.cmd.Process.Signal(syscall.SIGCONT))
			_, err = io.WriteString(child.in, "go on\n")
			require.NoError(t, err)
			child.read(ctx, "ended: ")
			assert.Regexp(t, c.says, child.text.String(), c.rule)
			if !c.late {
				close(finish)
			}

			got, err := h.Wait(ctx)
			require.NoError(t, err)
			assert.Equal(t, "second", got)
			stop()
			result, err := h.Result(ctx)
			require.NoError(t, err)
			assert.Equal(t, 2, result.Attempts, "the lease that ran out counts")
			checkConsistent(t, b, schema)
			checkEvents(t, b, 1)
		})
	}
}

// pausedProcess is a child and what it says.
type pausedProcess struct {
	t     *testing.T
	cmd   *osexec.Cmd
	in    io.WriteCloser
	lines chan string
	text  strings.Builder // what was read of it
}

func startPaused(t *testing.T, what string) *pausedProcess {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &pausedProcess{t: t, cmd: osexec.Command(self), lines: make(chan string, 1000)}
	p.cmd.Env = append(os.Environ(), pausedVariable+"="+what)
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // a process that is stopped, too
		for range p.lines {
		}
		_ = p.cmd.Wait()
	})
	return p
}

// read reads up to a line that begins like this.
func (p *pausedProcess) read(ctx context.Context, begin string) {
	p.t.Helper()
	for {
		select {
		case line, ok := <-p.lines:
			p.text.WriteString(line + "\n")
			if !ok || strings.HasPrefix(line, begin) {
				require.True(p.t, ok, "the process has ended before it said %q: %s", begin, p.text.String())
				return
			}
		case <-ctx.Done():
			p.t.Fatalf("the process has not said %q: %s", begin, p.text.String())
		}
	}
}
