package omniq_test

import (
	"context"
	"fmt"
	"time"

	"github.com/omniq-go/omniq"
)

// A document is indexed once it was not changed for a while, and at the latest when the first change is a second old.
func ExampleDebounce() {
	index := omniq.DefineArgs("index", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		return "indexed: " + a.V1, nil
	})
	ctx, client, stop := demo(omniq.Handlers(index))
	defer stop()
	var last *omniq.Handle[string]
	for _, text := range []string{"D", "Dr", "Draft"} {
		h, err := index.Enqueue(ctx, client, omniq.MakeArgs1(text), omniq.Debounce("document-7", 250*time.Millisecond, time.Second))
		if err != nil {
			panic(err)
		}
		fmt.Println(last == nil || last.ID() == h.ID()) // one task
		last = h
	}
	fmt.Println(last.Wait(ctx))
	// Output:
	// true
	// true
	// true
	// indexed: Draft <nil>
}

// An account is synchronized again if something came while it was, once, with what came last.
func ExampleLatest() {
	started, goOn := make(chan int, 9), make(chan bool)
	synchronize := omniq.DefineArgs("synchronize", func(_ context.Context, a omniq.Args1[int]) (int, error) {
		started <- a.V1
		<-goOn
		return a.V1, nil
	}, omniq.Latest("account-7"))
	ctx, client, stop := demo(omniq.Handlers(synchronize), omniq.Concurrency(4))
	defer stop()
	var last *omniq.Handle[int]
	for version := range 4 {
		h, err := synchronize.Enqueue(ctx, client, omniq.MakeArgs1(version))
		if err != nil {
			panic(err)
		}
		if last = h; version == 0 {
			fmt.Println("started", <-started)
		}
	}
	close(goOn)
	fmt.Println(last.Wait(ctx))
	fmt.Println("started", <-started, len(started))
	// Output:
	// started 0
	// 3 <nil>
	// started 3 0
}
