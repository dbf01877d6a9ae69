// Command producer enqueues orders and waits until a worker, another process, has shipped them.
//
//	go run ./examples/orders/worker &
//	go run ./examples/orders/producer 3
//
// Both find the queue by OMNIQ_BACKEND_URL, by default a file in the directory for temporary files. With the URL of a
// Postgres database they can be on two machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/orders"
	"github.com/omniq-go/omniq/examples/orders/tasks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "producer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	n := 1
	if len(args) > 0 {
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 || len(args) > 1 {
			return fmt.Errorf("usage: producer [number of orders, 1 by default]; got %q", args)
		}
	}
	config, err := orders.Config()
	if err != nil {
		return err
	}
	backend, err := orders.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	client, err := omniq.NewClient(backend, config.ClientOptions())
	if err != nil {
		return err
	}
	var handles []*omniq.Handle[tasks.Label]
	for i := range n {
		h, err := tasks.Ship.Enqueue(ctx, client, tasks.Order{ID: i + 1, City: "Malmö"})
		if err != nil {
			return err
		}
		handles = append(handles, h)
	}
	for i, h := range handles {
		label, err := h.Wait(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "order %d: %s\n", i+1, label.Tracking)
	}
	return nil
}
