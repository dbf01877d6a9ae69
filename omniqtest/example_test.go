package omniqtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/omniqtest"
)

// In a test t is the test's own.
func Example() {
	t := new(testing.T)
	welcome := omniq.DefineArgs("welcome", func(_ context.Context, a omniq.Args1[string]) (string, error) {
		return "Hello, " + a.V1, nil
	})

	queue := omniqtest.New(t) // give its Client to the code that is tested
	h, err := welcome.Enqueue(context.Background(), queue.Client, omniq.MakeArgs1("Ada"))
	if err != nil {
		panic(err)
	}
	for _, task := range omniqtest.Enqueued(queue, welcome) {
		fmt.Println(task.FuncName, task.Args.V1) // typed
	}
	queue.Drain(omniq.Handlers(welcome))
	fmt.Println(h.Wait(context.Background()))
	// Output:
	// welcome Ada
	// Hello, Ada <nil>
}

// In a test t is the test's own.
func ExampleRunFlow() {
	t := new(testing.T)
	type Page struct{ Text string }
	fetch := omniq.ReferArgs[omniq.Args1[string], Page]("fetch") // another program's
	count := omniq.DefineArgs("count", func(_ context.Context, p Page) (int, error) { return len(p.Text), nil })

	flow := count.On(fetch.With(omniq.MakeArgs1("a.html")))
	fmt.Println(omniqtest.RunFlow(t, flow, omniq.Handlers(count), omniqtest.Returns(fetch, Page{Text: "four"})))
	// Output: 4 <nil>
}
