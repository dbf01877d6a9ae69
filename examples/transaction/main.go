// Command transaction enqueues a task in the transaction that writes the data which the task is about: both are there
// afterwards, or neither.
//
//	go run ./examples/transaction
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// Receipt is sent for each order.
type Receipt struct{ Order int64 }

var sendReceipt = omniq.DefineArgs("receipt.send", func(_ context.Context, r Receipt) (string, error) {
	return fmt.Sprintf("receipt for order %d", r.Order), nil
})

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "transaction:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "omniq-transaction-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	backend, err := sqlite.Open(filepath.Join(dir, "shop.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	shop := backend.DB() // the shop's tables are in the same file
	if _, err := shop.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)"); err != nil {
		return err
	}

	// order writes an order and enqueues its receipt, and then the customer may think better of it.
	order := func(item string, sure bool) (*omniq.Handle[string], error) {
		tx, err := shop.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		h, err := place(ctx, tx, client.Tx(tx), item)
		if err != nil || !sure {
			return nil, errors.Join(err, tx.Rollback())
		}
		return h, tx.Commit()
	}
	if _, err := order("umbrella", false); err != nil {
		return err
	}
	h, err := order("hat", true)
	if err != nil {
		return err
	}

	stats, err := client.Stats(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d task is queued\n", stats[0].Ready)
	worker, err := omniq.NewWorker(backend, omniq.Handlers(sendReceipt))
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- worker.Run(working) }()
	text, err := h.Wait(ctx)
	stop()
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	fmt.Fprintln(stdout, text)
	return nil
}

func place(ctx context.Context, tx *sql.Tx, client *omniq.Client, item string) (*omniq.Handle[string], error) {
	r, err := tx.ExecContext(ctx, "INSERT INTO orders (item) VALUES (?)", item)
	if err != nil {
		return nil, err
	}
	id, err := r.LastInsertId()
	if err != nil {
		return nil, err
	}
	return sendReceipt.Enqueue(ctx, client, Receipt{Order: id})
}
