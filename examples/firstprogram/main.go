// Firstprogram runs one task in its own process and prints the task's result.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

type GreetArgs struct{ Name string } // positional: ["Ada"]

type GreetOpts struct { // named: {"salutation":"Hello"}
	Salutation string `json:"salutation"`
}

type Greeting struct {
	Text string `json:"text"`
}

func greet(_ context.Context, args GreetArgs, opts GreetOpts) (Greeting, error) {
	return Greeting{opts.Salutation + ", " + args.Name + "!"}, nil
}

var Greet = omniq.Define("greet", greet)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	check(err)
	worker, err := omniq.NewWorker(backend, omniq.Handlers(Greet))
	check(err)
	stopped := make(chan error)
	go func() { stopped <- worker.Run(ctx) }()

	handle, err := Greet.Enqueue(ctx, client, GreetArgs{"Ada"}, GreetOpts{Salutation: "Hello"}, omniq.Retries(1))
	check(err)
	greeting, err := handle.Wait(ctx) // a Greeting
	check(err)
	fmt.Println(greeting.Text)

	stop() // the worker finishes what it has begun
	check(<-stopped)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
