package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// What was enqueued is there when the file is opened again, by this or another process.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "omniq-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, file := context.Background(), filepath.Join(dir, "queue.db")
	greet := omniq.DefineArgs("greet", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		return "Hello, " + a.V1, nil
	})

	backend, err := sqlite.Open(file)
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	h, err := greet.Enqueue(ctx, client, omniq.MakeArgs1("Ada"))
	if err != nil {
		panic(err)
	}
	fmt.Println(backend.Close())

	again, err := sqlite.Open(file)
	if err != nil {
		panic(err)
	}
	if client, err = omniq.NewClient(again); err != nil {
		panic(err)
	}
	worker, err := omniq.NewWorker(again, omniq.Handlers(greet))
	if err != nil {
		panic(err)
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- worker.Run(working) }()
	fmt.Println(greet.Attach(client, h.ID()).Wait(ctx))
	stop()
	fmt.Println(<-done, again.Close())
	// Output:
	// <nil>
	// Hello, Ada <nil>
	// <nil> <nil>
}

// A task that is enqueued in a transaction exists if and only if that commits.
func ExampleBackend_Tx() {
	dir, err := os.MkdirTemp("", "omniq-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	backend, err := sqlite.Open(filepath.Join(dir, "shop.db"))
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	receipt := omniq.ReferArgs[omniq.Args1[int], omniq.Void]("receipt.send")

	tx, err := backend.DB().BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	h, err := receipt.Enqueue(ctx, client.Through(backend.Tx(tx)), omniq.MakeArgs1(7))
	if err != nil {
		panic(err)
	}
	if err := tx.Rollback(); err != nil {
		panic(err)
	}
	_, err = client.Inspect(ctx, h.ID())
	fmt.Println(err != nil, backend.Close())
	// Output: true <nil>
}
