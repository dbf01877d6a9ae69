package omniq_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// Two servers share the queues: by name where one belongs somewhere, and by hash for the others. Clients and workers use them as one.
func ExampleRoute() {
	one, two := memory.New(), memory.New() // two databases, of whatever engines
	byHash := omniq.ByHash("one", "two")
	rule := func(queue string) string {
		if strings.HasPrefix(queue, "billing-") {
			return "one"
		}
		return byHash(queue)
	}
	backend, err := omniq.Route(map[string]omniq.Backend{"one": one, "two": two}, rule)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = backend.Close() }() // both

	greet := omniq.DefineArgs("greet", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		return "hello " + a.V1, nil
	})
	client, err := omniq.NewClient(backend)
	if err != nil {
		fmt.Println(err)
		return
	}
	worker, err := omniq.NewWorker(backend, omniq.Handlers(greet), omniq.Queues("billing-eu", "mail-3"),
		omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- worker.Run(ctx) }()

	for _, queue := range []string{"billing-eu", "mail-3"} {
		h, err := greet.Enqueue(ctx, client, omniq.MakeArgs1(queue), omniq.Queue(queue))
		if err != nil {
			fmt.Println(err)
			return
		}
		greeting, err := h.Wait(ctx) // wherever it is
		fmt.Println(rule(queue), greeting, err)
	}
	stop()
	fmt.Println(<-done)
	// Output:
	// one hello billing-eu <nil>
	// two hello mail-3 <nil>
	// <nil>
}

// Four queues of five stay where they are when a fifth server comes.
func ExampleByHash() {
	before := omniq.ByHash("a", "b", "c", "d")
	after := omniq.ByHash("a", "b", "c", "d", "e")
	moved, elsewhere := 0, 0
	for i := range 10_000 {
		queue := fmt.Sprintf("tenant-%d", i)
		if before(queue) != after(queue) {
			moved++
			if after(queue) != "e" {
				elsewhere++
			}
		}
	}
	fmt.Println(moved > 1900 && moved < 2100, elsewhere)
	// Output: true 0
}
