package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
)

// One tenant has many tasks, another one a few. With a lane for each they take turns.
func ExampleLane() {
	var mu sync.Mutex
	var order []string
	resize := omniq.DefineNoArgs("resize", func(ctx context.Context) (int, error) {
		info, _ := omniq.InfoFrom(ctx)
		mu.Lock()
		defer mu.Unlock()
		order = append(order, info.Lane)
		return len(order), nil
	})
	ctx, client, stop := demo(omniq.Handlers(resize), omniq.Concurrency(1))
	defer stop()
	if err := client.Pause(ctx, omniq.DefaultQueue); err != nil { // until all are there
		panic(err)
	}
	var last *omniq.Handle[int]
	for _, tenant := range []string{"large", "large", "large", "large", "small", "small"} {
		h, err := resize.Enqueue(ctx, client, omniq.Lane(tenant))
		if err != nil {
			panic(err)
		}
		if tenant == "large" {
			last = h
		}
	}
	if err := client.Resume(ctx, omniq.DefaultQueue); err != nil {
		panic(err)
	}
	_, err := last.Wait(ctx)
	fmt.Println(order, err)
	// Output:
	// [large small large small large large] <nil>
}

// At most two calls of an API run at once, on all workers together, and at most one for each account.
func ExampleClient_SetLimit() {
	var mu sync.Mutex
	running, most := 0, 0
	call := omniq.DefineNoArgs("call", func(context.Context) (int, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		running--
		mu.Unlock()
		return 1, nil
	}, omniq.Queue("api"))
	ctx, client, stop := demo(omniq.Handlers(call), omniq.Queues("api"))
	defer stop()
	err := client.SetLimit(ctx, "api", omniq.Limit{Running: 2, EachLane: omniq.LaneLimit{Running: 1}})
	if err != nil {
		panic(err)
	}
	var all []*omniq.Handle[int]
	for i := range 12 {
		h, err := call.Enqueue(ctx, client, omniq.Lane(fmt.Sprint("account ", i%4)))
		if err != nil {
			panic(err)
		}
		all = append(all, h)
	}
	for _, h := range all {
		if _, err := h.Wait(ctx); err != nil {
			panic(err)
		}
	}
	stats, err := client.Stats(ctx)
	fmt.Println("at most", most, "at once; the limit is", stats[0].Limit, err)
	// Output:
	// at most 2 at once; the limit is 2 each 1 <nil>
}

// An API says that it is asked too often. All tasks of the account wait, and those of others go on.
func ExampleThrottled() {
	var once sync.Once
	call := omniq.DefineNoArgs("call", func(ctx context.Context) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		err := error(nil)
		once.Do(func() { err = errors.New("429") })
		if err != nil {
			return "", omniq.Throttled(100 * time.Millisecond)
		}
		return fmt.Sprintf("%s, attempt %d", info.Lane, info.Attempt), nil
	})
	ctx, client, stop := demo(omniq.Handlers(call), omniq.Concurrency(1))
	defer stop()
	first, err := call.Enqueue(ctx, client, omniq.Lane("busy"))
	if err != nil {
		panic(err)
	}
	show(call.Enqueue(ctx, client, omniq.Lane("quiet")))
	show(first, nil)
	// Output:
	// quiet, attempt 1
	// busy, attempt 1
}

// The text form of a limit is what OMNIQ_LIMITS has for each queue.
func ExampleLimit_UnmarshalText() {
	var limit omniq.Limit
	err := limit.UnmarshalText([]byte("50 20/s each 2 100/m"))
	fmt.Println(limit.Running, limit.Rate, limit.EachLane.Running, limit.EachLane.Rate, err)
	err = limit.UnmarshalText([]byte("many"))
	fmt.Println(err)
	// Output:
	// 50 20/s 2 100/m <nil>
	// omniq: invalid: "many" in a limit, want a number from 1 on, or a rate like 20/s
}
