package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// program is one call of the command.
type program struct {
	in       io.Reader
	out, err io.Writer
	terminal struct{ in, out, err bool } // which of them a person sits at

	backend string // the flags of every command
	timeout time.Duration
	output  format
}

// run does what the arguments say, and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	p.out = output{p.out}
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, errEnough) {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &failure{exitFailed, errors.New("interrupted")}
	}
	if _, ours := errors.AsType[*failure](err); err != nil && !ours {
		err = wrongUsage("%w", err) // by cobra, before the command began
	}
	if err != nil && err.Error() != "" {
		p.tell("%v", err)
	}
	return exitOf(err)
}

// errEnough says that who reads the output has enough of it.
var errEnough = errors.New("nobody reads the output any more")

// output is the standard output, of which a broken pipe is [errEnough]. That of the engine's connection is a failure.
type output struct{ io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		err = errEnough
	}
	return n, err
}

// tell writes a line for people, in which nothing controls their terminal.
func (p *program) tell(format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimPrefix(fmt.Sprintf(format, args...), "omniq: "), "\t", "    ")
	for i, line := range strings.Split(text, "\n") {
		if i == 0 {
			line = "omniq: " + line
		}
		fmt.Fprintln(p.err, printable(line))
	}
}

// root makes the command with all that is below it.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "omniq",
		Short: "Look after tasks: what is stuck, why, and how to put it right",
		Long: `Omniq looks after the tasks of an engine: what is stuck, why, and how to put it right.

The engine is that of --backend or OMNIQ_BACKEND_URL: sqlite:path, postgres://user@host/database or redis://host.
The exit status is 0 if it was done, 1 if it failed, 2 for a wrong usage, 3 if there is no such task
or the check does not hold, and 4 if the task's state does not allow it.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	flags := root.PersistentFlags()
	flags.StringVar(&p.backend, "backend", "", "`URL` of the engine, sqlite:path, postgres://... or redis://...; a password is better in OMNIQ_BACKEND_URL")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Second, "how long an answer of the engine may take")
	flags.VarP(&p.output, "output", "o", "`format` of the data: table, json or jsonl")
	root.AddCommand(
		p.statsCommand(), p.topCommand(), p.taskCommand(), p.flowCommand(), p.scheduleCommand(), p.queueCommand(), p.workerCommand(),
		p.eventsCommand(), p.errorsCommand(), p.checkCommand(), p.migrateCommand(), p.uiCommand(), p.versionCommand(),
	)
	complete(root, "output", formats...)
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(helpCommand())
	refuseUnknown(root)
	return root
}

// helpCommand is cobra's, but for what there is no help about.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [command]", Short: "Help about any command",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return wrongUsage("there is no command %q. See: %s --help", strings.Join(args, " "), c.Root().Name())
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// refuseUnknown lets a command that has others below it refuse what is none of them. Cobra would show its help, and succeed.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	if c.Runnable() || !c.HasSubCommands() {
		return
	}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q", c.CommandPath()+" "+args[0])
		if c.SuggestionsMinimumDistance <= 0 {
			c.SuggestionsMinimumDistance = 2
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return wrongUsage("%s, did you mean %s? See: %s --help", text, strings.Join(near, " or "), c.CommandPath())
		}
		return wrongUsage("%s. See: %s --help", text, c.CommandPath())
	}
	c.RunE = func(*cobra.Command, []string) error {
		c.SetOut(c.ErrOrStderr())
		if err := c.Help(); err != nil {
			return err
		}
		return &failure{status: exitUsage}
	}
}

// action is what a command does.
type action func(ctx context.Context, args []string) error

// does makes an action what cobra runs: of it no error is a wrong usage unless it says so.
func does(do action) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error { return failed(do(c.Context(), args)) }
}

// asks is [does] for an action that needs the engine.
func (p *program) asks(do func(ctx context.Context, client *omniq.Client, args []string) error) func(*cobra.Command, []string) error {
	return does(func(ctx context.Context, args []string) error {
		return p.with(ctx, func(client *omniq.Client) error { return do(ctx, client, args) })
	})
}

// engines are those that the command brings. What is in memory is inside of another process.
var engines = []omniq.Engine{sqlite.Engine, postgres.Engine, redis.Engine}

// config is what the environment and the flags say.
func (p *program) config() (omniq.Config, error) {
	c, err := omniq.ConfigFromEnv()
	if err != nil {
		return c, err
	}
	c.Limits = nil // to look at an engine changes none
	switch {
	case p.backend != "":
		c.BackendURL = p.backend
	case os.Getenv("OMNIQ_BACKEND_URL") == "":
		return c, wrongUsage("which engine? Give --backend or OMNIQ_BACKEND_URL: sqlite:path, postgres://user@host/database or redis://host")
	}
	if p.timeout <= 0 {
		return c, wrongUsage("the --timeout is %v, want a positive time", p.timeout)
	}
	return c, nil
}

// with opens the engine for a time. It never makes or changes tables: a mistyped path is no new queue, and programs of an old version
// go on.
func (p *program) with(ctx context.Context, do func(*omniq.Client) error) (err error) {
	config, err := p.config()
	if err != nil {
		return err
	}
	schema, err := p.schema(ctx, config)
	switch {
	case err != nil:
		return err
	case schema.Version == 0 && schema.Newest > 0:
		return errors.New("there is no queue there. If it is to be made: omniq migrate up")
	case schema.Version < schema.Newest:
		return fmt.Errorf("the tables have version %d, and this command works with %d. See: omniq migrate status", schema.Version, schema.Newest)
	}
	backend, err := p.open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, p.close(backend)) }()
	client, err := omniq.NewClient(&bounded{backend, p.timeout}, config.ClientOptions())
	if err != nil {
		return err
	}
	return do(client)
}

func (p *program) schema(ctx context.Context, config omniq.Config) (omniq.Schema, error) {
	return within(ctx, p.timeout, func(ctx context.Context) (omniq.Schema, error) { return config.Schema(ctx, engines...) })
}

func (p *program) open(ctx context.Context, config omniq.Config) (omniq.Backend, error) {
	return within(ctx, p.timeout, func(ctx context.Context) (omniq.Backend, error) { return config.Open(ctx, engines...) })
}

// close waits for an engine that answers, and leaves one that does not to the end of the process.
func (p *program) close(backend omniq.Backend) error {
	return doneWithin(context.Background(), p.timeout, func(ctx context.Context) error {
		closed := make(chan error, 1)
		go func() { closed <- backend.Close() }()
		select {
		case err := <-closed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
