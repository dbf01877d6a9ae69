package postgres_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// exampleURL is what stands for "postgres://user@host/database" in the examples.
func exampleURL() string {
	url, err := start()
	if err != nil {
		panic(err)
	}
	return url
}

// One process enqueues and waits, another one works: here they are two backends on one database.
func ExampleOpen() {
	ctx := context.Background()
	url := exampleURL() // "postgres://user@host/database"
	greet := omniq.DefineArgs("greet", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		return "Hello, " + a.V1, nil
	})

	there, err := postgres.Open(ctx, url)
	if err != nil {
		panic(err)
	}
	worker, err := omniq.NewWorker(there, omniq.Handlers(greet))
	if err != nil {
		panic(err)
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- worker.Run(working) }()

	here, err := postgres.Open(ctx, url)
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(here)
	if err != nil {
		panic(err)
	}
	h, err := greet.Enqueue(ctx, client, omniq.MakeArgs1("Ada"))
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Wait(ctx))
	stop()
	fmt.Println(<-done, here.Close(), there.Close())
	// Output:
	// Hello, Ada <nil>
	// <nil> <nil> <nil>
}

var receipt = omniq.ReferArgs[omniq.Args1[int], omniq.Void]("receipt.send", omniq.Queue("example-receipts"))

// A task that is enqueued in a transaction exists if and only if that commits.
func ExampleBackend_Tx() {
	ctx := context.Background()
	backend, err := postgres.Open(ctx, exampleURL())
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	var h *omniq.Handle[omniq.Void]
	err = pgx.BeginFunc(ctx, backend.Pool(), func(tx pgx.Tx) error { // or one of your own pool on the same database
		// Write the order in this transaction, too.
		if h, err = receipt.Enqueue(ctx, client.Through(backend.Tx(tx)), omniq.MakeArgs1(7)); err != nil {
			return err
		}
		return context.Canceled // which rolls back
	})
	fmt.Println(err)
	_, err = client.Inspect(ctx, h.ID())
	fmt.Println(errors.Is(err, omniq.ErrNotFound), backend.Close())
	// Output:
	// context canceled
	// true <nil>
}

// The same with package database/sql.
func ExampleBackend_SQLTx() {
	ctx := context.Background()
	backend, err := postgres.Open(ctx, exampleURL())
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	db := stdlib.OpenDBFromPool(backend.Pool()) // or your own *sql.DB on the same database
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	h, err := receipt.Enqueue(ctx, client.Through(backend.SQLTx(tx)), omniq.MakeArgs1(7))
	if err != nil {
		panic(err)
	}
	if err := tx.Commit(); err != nil {
		panic(err)
	}
	fmt.Println(h.Cancel(ctx))
	fmt.Println(db.Close(), backend.Close())
	// Output:
	// <nil>
	// <nil> <nil>
}

// Plain SQL enqueues as well, from a trigger, say, or another language. Whoever knows the ID can wait for the result.
func Example_sql() {
	ctx := context.Background()
	backend, err := postgres.Open(ctx, exampleURL())
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	const q = `SELECT omniq.enqueue('area', '[3, 4]', queue => 'example-areas', ttl => '1 hour')`
	var id uuid.UUID
	if err := backend.Pool().QueryRow(ctx, q).Scan(&id); err != nil {
		panic(err)
	}

	area := omniq.DefineArgs("area", func(_ context.Context, a omniq.Args2[int, int]) (int, error) { return a.V1 * a.V2, nil })
	worker, err := omniq.NewWorker(backend, omniq.Handlers(area), omniq.Queues("example-areas"))
	if err != nil {
		panic(err)
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- worker.Run(working) }()
	fmt.Println(area.Attach(client, id).Wait(ctx))
	stop()
	fmt.Println(<-done, backend.Close())
	// Output:
	// 12 <nil>
	// <nil> <nil>
}
