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

type GreetOpts struct { // named: {"excited":true}
	Excited bool `json:"excited"`
}

type Greeting struct {
	Text string `json:"text"`
}

func greet(_ context.Context, args GreetArgs, opts GreetOpts) (Greeting, error) {
	if opts.Excited {
		return Greeting{"Hello, " + args.Name + "!"}, nil
	}
	return Greeting{"Hello, " + args.Name + "."}, nil
}

var Greet = omniq.Define("greet", greet)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	check(err)
	worker, err := omniq.NewWorker(backend, omniq.Handlers(Greet))
	check(err)
	go func() { check(worker.Run(ctx)) }()

	handle, err := Greet.Enqueue(ctx, client, GreetArgs{"Ada"}, GreetOpts{Excited: true}, omniq.Retries(1))
	check(err)
	greeting, err := handle.Wait(ctx) // a Greeting
	check(err)
	fmt.Println(greeting.Text)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
