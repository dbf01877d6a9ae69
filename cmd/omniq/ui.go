package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/ui"
)

func (p *program) uiCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "ui", Short: "Serve the web interface to this machine's browser, until Ctrl-C", Args: cobra.NoArgs,
		Long: `Serve the web interface, until Ctrl-C. The first line of the standard output is its address.

It has no login: whoever reaches the address may do everything, or with --read-only see everything. So it listens to
this machine alone, and answers to localhost alone, unless --listen and --host say otherwise. For a server with a login
mount the package github.com/omniq-go/omniq/ui into a program of yours.`,
		Example: "  omniq ui\n  omniq ui --listen 127.0.0.1:0 --read-only",
	}
	flags := c.Flags()
	listen := flags.String("listen", "127.0.0.1:8090", "`address` and port; port 0 is any that is free")
	hosts := flags.StringSlice("host", nil, "other `names` in a browser's address bar that are answered; several are separated by commas")
	readOnly := flags.Bool("read-only", false, "nobody may change anything")
	c.RunE = does(func(ctx context.Context, _ []string) error {
		return p.with(ctx, func(client *omniq.Client) error {
			opts := []ui.Option{ui.Hosts(*hosts...), ui.Schema(func(ctx context.Context) (omniq.Schema, error) {
				config, err := p.config()
				if err != nil {
					return omniq.Schema{}, err
				}
				return p.schema(ctx, config)
			})}
			if *readOnly {
				opts = append(opts, ui.ReadOnly())
			}
			handler, err := ui.New(client, ui.Always(ui.Everything), opts...)
			if err != nil {
				return wrongUsage("%w", err)
			}
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
			if err != nil {
				return fmt.Errorf("%w. Another --listen, like 127.0.0.1:0, is any port that is free", err)
			}
			if at, ok := listener.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
				p.tell("there is no login: whoever reaches %v can see everything%s", at, map[bool]string{false: " and do everything"}[*readOnly])
			}
			if _, err := fmt.Fprintf(p.out, "http://%s/\n", address(listener.Addr())); err != nil {
				return errors.Join(err, listener.Close())
			}
			return p.serve(ctx, listener, handler)
		})
	})
	return c
}

// address is what a browser calls the listener.
func address(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return at.String()
	}
	if ip := net.ParseIP(host); ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// serve serves until ctx ends, and lets what has begun finish for a moment.
func (p *program) serve(ctx context.Context, listener net.Listener, handler *ui.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	server.RegisterOnShutdown(handler.Close)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	if err := server.Shutdown(ending); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
