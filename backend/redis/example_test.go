package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// exampleURL is that of the server of the tests.
func exampleURL() string {
	if given := os.Getenv(redisserver.URLVariable); given != "" {
		return given
	}
	common.Do(func() { common.Server, common.err = redisserver.Start(context.Background(), "") })
	if common.err != nil {
		panic(common.err)
	}
	return common.URL()
}

func Example() {
	ctx := context.Background()
	url := exampleURL() // redis://localhost:6379
	b, err := redis.Open(ctx, url, redis.WithNamespace("example"), redis.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	defer func() { _ = b.Close() }()

	greet := omniq.DefineArgs("greet", func(_ context.Context, a omniq.Args1[string]) (string, error) { return "Hello, " + a.V1, nil })
	worker, err := omniq.NewWorker(b, omniq.Handlers(greet))
	if err != nil {
		panic(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- worker.Run(running) }()

	client, err := omniq.NewClient(b)
	if err != nil {
		panic(err)
	}
	h, err := greet.Enqueue(ctx, client, omniq.MakeArgs1("Ada"))
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Wait(ctx))
	stop()
	if err := <-done; err != nil {
		panic(err)
	}
	// Output: Hello, Ada <nil>
}

// Capabilities say what a server survives by its settings.
func ExampleOpen() {
	b, err := redis.Open(context.Background(), exampleURL(), redis.WithEvents(24*time.Hour), redis.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	defer func() { _ = b.Close() }()
	caps := b.Capabilities()
	fmt.Println(caps.Name, caps.Fencing, caps.Flows, caps.Limits, caps.Events)
	// Output: redis true true true true
}

// A program that is configured from outside opens what OMNIQ_BACKEND_URL names.
func ExampleEngine() {
	config := omniq.DefaultConfig()
	config.BackendURL = exampleURL() // of OMNIQ_BACKEND_URL, by omniq.ConfigFromEnv
	b, err := config.Open(context.Background(), redis.Engine)
	if err != nil {
		panic(err)
	}
	defer func() { _ = b.Close() }()
	fmt.Println(b.Capabilities().Name)
	// Output: redis
}
