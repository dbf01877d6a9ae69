// Command worker ships orders until it is interrupted; see the producer.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/orders"
	"github.com/omniq-go/omniq/examples/orders/tasks"
)

var ship = omniq.DefineArgs(tasks.Ship, func(ctx context.Context, o tasks.Order) (tasks.Label, error) {
	info, _ := omniq.InfoFrom(ctx)
	slog.Info("shipped", "order", o.ID, "city", o.City, "attempt", info.Attempt)
	return tasks.Label{Tracking: fmt.Sprintf("%s-%04d", o.City, o.ID)}, nil
})

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	config, err := orders.Config()
	if err != nil {
		return err
	}
	backend, err := orders.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	worker, err := omniq.NewWorker(backend, config.WorkerOptions(), omniq.Handlers(ship))
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}
