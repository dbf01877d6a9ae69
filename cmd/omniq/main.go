// Omniq looks after the tasks of an engine: what is stuck, why, and how to put it right.
//
//	go install github.com/omniq-go/omniq/cmd/omniq@latest
//	export OMNIQ_BACKEND_URL=sqlite:queue.db
//	omniq stats
//	omniq errors
//	omniq task requeue --name send_mail --contains "connection refused"
//
// Data goes to the standard output, as a table or as JSON, and all else to the standard error output. The exit status is 0 if it was
// done, 1 if it failed, 2 for a wrong usage, 3 if there is no such task or the check does not hold, and 4 if the task's state does not
// allow it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	signal.Ignore(syscall.SIGPIPE) // a write fails instead, and the program ends in its own way
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	p.terminal.in, p.terminal.out, p.terminal.err = isTerminal(os.Stdin), isTerminal(os.Stdout), isTerminal(os.Stderr)
	os.Exit(p.run(ctx, os.Args[1:]))
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
