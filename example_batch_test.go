package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
)

// Rows are inserted many at once, and who enqueues one gets its own number, or its own error.
func ExampleDefineBatch() {
	type Row struct{ Name string }
	var mu sync.Mutex
	inserted, statements := 0, 0
	insert := omniq.DefineBatch("insert", func(_ context.Context, items []*omniq.Item[Row, int]) error {
		mu.Lock()
		defer mu.Unlock()
		statements++ // one INSERT for all of them, here
		for _, i := range items {
			if i.Args.Name == "" {
				i.Fail(omniq.Permanent(errors.New("a row without a name")))
				continue
			}
			inserted++
			i.Succeed(inserted)
		}
		return nil
	}, omniq.UpTo(500, 100*time.Millisecond))

	ctx, client, stop := demo(omniq.Handlers(insert))
	defer stop()
	var handles []*omniq.Handle[int]
	for _, name := range []string{"Ada", "Grace", "", "Barbara"} {
		h, err := insert.Enqueue(ctx, client, Row{name})
		if err != nil {
			panic(err)
		}
		handles = append(handles, h)
	}
	sum := 0
	for _, h := range handles {
		number, err := h.Wait(ctx)
		if err != nil {
			fmt.Println("error:", err)
		}
		sum += number
	}
	fmt.Println("rows 1 to 3:", sum == 1+2+3, "fewer statements than rows:", statements < 4)
	// Output:
	// error: a row without a name
	// rows 1 to 3: true fewer statements than rows: true
}
