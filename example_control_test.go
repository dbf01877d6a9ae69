package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// A running handler sees its context end, and can tell why.
func ExampleHandle_Cancel() {
	started, stopped := make(chan struct{}), make(chan struct{})
	count := omniq.DefineNoArgs("count", func(ctx context.Context) (int, error) {
		close(started)
		<-ctx.Done()
		fmt.Println("handler:", context.Cause(ctx))
		close(stopped)
		return 0, ctx.Err()
	})
	ctx, client, stop := demo(omniq.Handlers(count))
	defer stop()
	h, err := count.Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	<-started
	if err := h.Cancel(ctx); err != nil {
		panic(err)
	}
	<-stopped
	_, err = h.Wait(ctx)
	fmt.Println("caller:", errors.Is(err, omniq.ErrCancelled))
	// Output:
	// handler: omniq: task cancelled
	// caller: true
}

// While a report is queued or made, asking for it again gives the handle of the one that is on its way.
func ExampleUnique() {
	report := omniq.ReferArgs[omniq.Args1[string], string]("report.make")
	client, err := omniq.NewClient(memory.New())
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	first, err := report.Enqueue(ctx, client, omniq.MakeArgs1("November"), omniq.Unique("2026-11"))
	fmt.Println(err)
	second, err := report.Enqueue(ctx, client, omniq.MakeArgs1("November"), omniq.Unique("2026-11"))
	fmt.Println(errors.Is(err, omniq.ErrDuplicate), second.ID() == first.ID())
	// Output:
	// <nil>
	// true true
}

// What has failed for good is kept, with its arguments, as long as its result, and can be enqueued again.
func ExampleClient_Requeue() {
	open := false
	fetch := omniq.DefineArgs("fetch", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		if !open {
			return "", omniq.Permanent(errors.New("the door is shut"))
		}
		return a.V1 + " is here", nil
	})
	ctx, client, stop := demo(omniq.Handlers(fetch))
	defer stop()
	h, err := fetch.Enqueue(ctx, client, omniq.MakeArgs1("the parcel"))
	if err != nil {
		panic(err)
	}
	_, err = h.Wait(ctx)
	fmt.Println(err != nil)

	open = true
	for info, err := range client.List(ctx, omniq.StatusFailure, "") {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s%s: %s\n", info.FuncName, info.Task.Args, info.Error.Message)
		if err := client.Requeue(ctx, info.ID); err != nil {
			panic(err)
		}
	}
	fmt.Println(h.Wait(ctx))
	// Output:
	// true
	// fetch["the parcel"]: the door is shut
	// the parcel is here <nil>
}

// A paused queue takes tasks and hands none out.
func ExampleClient_Pause() {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	mail := omniq.ReferArgs[omniq.Args1[string], omniq.Void]("mail.send", omniq.Queue("mail"))
	if err := client.Pause(ctx, "mail"); err != nil {
		panic(err)
	}
	if _, err := mail.Enqueue(ctx, client, omniq.MakeArgs1("ada@example.com")); err != nil {
		panic(err)
	}
	stats, err := client.Stats(ctx)
	if err != nil {
		panic(err)
	}
	for _, s := range stats {
		fmt.Printf("%s: paused %v, %d ready, %d running\n", s.Queue, s.Paused, s.Ready, s.Running)
	}
	// Output: mail: paused true, 1 ready, 0 running
}

// The cursor is moved with each event. Whoever stores it goes on there after a restart.
func ExampleClient_Events() {
	backend := memory.New(memory.WithEvents(time.Hour))
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	noop := omniq.DefineNoArgs("noop", func(context.Context) (int, error) { return 1, nil })
	defer work(backend, omniq.Handlers(noop))()
	h, err := noop.Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	if _, err := h.Wait(ctx); err != nil {
		panic(err)
	}

	var cursor omniq.Cursor
	for e, err := range client.Events(ctx, &cursor) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.EventType, e.Queue, e.Attempt)
	}
	// Output:
	// ENQUEUED default 0
	// STARTED default 1
	// COMPLETED default 1
}

// A program takes its configuration from the environment, and says which engines it can open.
func ExampleConfigFromEnv() {
	for name, value := range map[string]string{"OMNIQ_BACKEND_URL": "memory:", "OMNIQ_QUEUES": "high,low"} {
		_ = os.Setenv(name, value)
		defer func() { _ = os.Unsetenv(name) }()
	}

	config, err := omniq.ConfigFromEnv()
	if err != nil {
		panic(err) // it names every variable that is wrong
	}
	backend, err := config.Open(context.Background(), memory.Engine)
	if err != nil {
		panic(err)
	}
	noop := omniq.DefineNoArgs("noop", func(context.Context) (int, error) { return 1, nil })
	client, clientErr := omniq.NewClient(backend, config.ClientOptions())
	worker, workerErr := omniq.NewWorker(backend, config.WorkerOptions(), omniq.Handlers(noop))
	fmt.Println(client != nil, worker != nil, errors.Join(clientErr, workerErr))
	fmt.Println(config.Queues, config.Concurrency, backend.Close())
	// Output:
	// true true <nil>
	// [high low] 16 <nil>
}

// Results can be kept in another engine than the queue.
func ExampleMix() {
	queue, results := memory.New(), memory.New()
	backend := omniq.Mix(queue, results)
	fmt.Println(backend.Capabilities().Name, backend.Close())
	// Output: memory+memory <nil>
}
