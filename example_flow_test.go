package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// A result is the next call's argument. The graph is stored in one step, and its types are checked by the compiler.
func ExamplePromise() {
	type Page struct{ URL, Text string }
	fetch := omniq.DefineArgs("pages.fetch", func(_ context.Context, a omniq.Args1[string]) (Page, error) {
		return Page{a.V1, "some words of " + a.V1}, nil
	})
	words := omniq.DefineArgs("pages.words", func(_ context.Context, p Page) (int, error) { return len(strings.Fields(p.Text)), nil })
	sum := omniq.DefineArgs("sum", func(_ context.Context, n []int) (int, error) {
		total := 0
		for _, i := range n {
			total += i
		}
		return total, nil
	})
	ctx, client, stop := demo(omniq.Handlers(fetch, words, sum))
	defer stop()

	a := words.On(fetch.With(omniq.MakeArgs1("a.html"))) // nothing is stored yet
	b := words.On(fetch.With(omniq.MakeArgs1("b.html")))
	h, err := sum.On(omniq.All(a, b)).Enqueue(ctx, client)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Wait(ctx))
	// Output: 8 <nil>
}

// A handler hands its result over to calls that it finds out about when it runs, and keeps no place while they run.
func ExampleBecome() {
	square := omniq.DefineArgs("square", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1 * a.V1, nil })
	sum := omniq.DefineArgs("sum", func(_ context.Context, n []int) (int, error) {
		total := 0
		for _, i := range n {
			total += i
		}
		return total, nil
	})
	squares := omniq.DefineArgs("squares", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
		var parts []omniq.Promise[int]
		for i := range a.V1 {
			parts = append(parts, square.With(omniq.MakeArgs1(i+1)))
		}
		return omniq.Become(ctx, sum.On(omniq.All(parts...)))
	})
	ctx, client, stop := demo(omniq.Handlers(square, sum, squares), omniq.Concurrency(1))
	defer stop()

	h, err := squares.Enqueue(ctx, client, omniq.MakeArgs1(4))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Wait(ctx))
	// Output: 30 <nil>
}

// Each is a call for each element of a result, however many that turns out to have.
func ExampleArgsReference_Each() {
	split := omniq.DefineArgs("split", func(_ context.Context, a omniq.Args1[string]) ([]omniq.Args1[string], error) {
		var words []omniq.Args1[string]
		for w := range strings.FieldsSeq(a.V1) {
			words = append(words, omniq.MakeArgs1(w))
		}
		return words, nil
	})
	upper := omniq.DefineArgs("upper", func(_ context.Context, a omniq.Args1[string]) (string, error) { return strings.ToUpper(a.V1), nil })
	ctx, client, stop := demo(omniq.Handlers(split, upper))
	defer stop()

	h, err := upper.Each(split.With(omniq.MakeArgs1("one two three"))).Enqueue(ctx, client)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Wait(ctx))
	// Output: [ONE TWO THREE] <nil>
}

// Settled puts a failure into the argument's type: who takes it runs in any case.
func ExampleSettledAll() {
	half := omniq.DefineArgs("half", func(_ context.Context, a omniq.Args1[int]) (int, error) {
		if a.V1%2 != 0 {
			return 0, omniq.Permanent(fmt.Errorf("%d is odd", a.V1))
		}
		return a.V1 / 2, nil
	})
	report := omniq.DefineArgs("report", func(_ context.Context, all []omniq.Outcome[int]) (string, error) {
		var lines []string
		for _, o := range all {
			if o.Err != nil {
				lines = append(lines, o.Err.Message)
				continue
			}
			lines = append(lines, fmt.Sprint(o.Value))
		}
		return strings.Join(lines, ", "), nil
	})
	ctx, client, stop := demo(omniq.Handlers(half, report))
	defer stop()

	h, err := report.On(omniq.SettledAll(half.With(omniq.MakeArgs1(4)), half.With(omniq.MakeArgs1(3)))).Enqueue(ctx, client)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Wait(ctx))
	// Output: 2, 3 is odd <nil>
}

// A flow is looked after as one: what has failed is run again with what follows, and nothing else.
func ExampleFlow() {
	broken := true
	fetch := omniq.DefineArgs("fetch", func(_ context.Context, a omniq.Args1[string]) (int, error) {
		fmt.Println("fetching", a.V1)
		if a.V1 == "b.html" && broken {
			return 0, omniq.Permanent(errors.New("no such page"))
		}
		return len(a.V1), nil
	})
	report := omniq.DefineArgs("report", func(_ context.Context, sizes []int) (string, error) { return fmt.Sprint(sizes), nil })
	ctx, client, stop := demo(omniq.Handlers(fetch, report), omniq.Concurrency(1))
	defer stop()

	h, err := report.On(omniq.All(fetch.With(omniq.MakeArgs1("a.html")), fetch.With(omniq.MakeArgs1("b.html")))).Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	flow, err := h.Flow(ctx) // or client.Flow(id), anywhere
	if err != nil {
		panic(err)
	}
	stats, err := flow.Wait(ctx)
	fmt.Println(stats.Status(), stats.Failed, "failed,", stats.Cancelled, "could not start", err)
	for task, err := range flow.Tasks(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(task.FuncName, task.Status, "after", len(task.After))
	}

	broken = false
	n, err := flow.Requeue(ctx)
	fmt.Println(n, err)
	fmt.Println(h.Wait(ctx))
	// Output:
	// fetching a.html
	// fetching b.html
	// FAILURE 1 failed, 1 could not start <nil>
	// fetch SUCCESS after 0
	// fetch FAILURE after 0
	// report CANCELLED after 2
	// 2 <nil>
	// fetching b.html
	// [6 6] <nil>
}

// A signal is a result that somebody sends, when and where it is known.
func ExampleSignal() {
	type Decision struct {
		By string
		OK bool
	}
	approve := omniq.DefineSignal[Decision]("orders.approve")
	pack := omniq.DefineArgs("orders.pack", func(_ context.Context, a omniq.Args1[string]) (string, error) { return "a parcel for " + a.V1, nil })
	ship := omniq.DefineArgs("orders.ship", func(_ context.Context, a omniq.Args2[string, Decision]) (string, error) {
		if !a.V2.OK {
			return "", omniq.Permanent(errors.New("refused by " + a.V2.By))
		}
		return a.V1 + ", approved by " + a.V2.By, nil
	})
	ctx, client, stop := demo(omniq.Handlers(pack, ship))
	defer stop()

	approved := approve.Promise(omniq.TTL(72 * time.Hour)) // then it is too late
	h, err := ship.On(omniq.Join2(pack.With(omniq.MakeArgs1("Bob")), approved)).Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	id := approved.ID() // to be kept where the order is

	// Days later, in another process:
	fmt.Println(approve.Send(ctx, client, id, Decision{By: "Ada", OK: true}))
	fmt.Println(h.Wait(ctx))
	err = approve.Send(ctx, client, id, Decision{By: "Eve"})
	fmt.Println(errors.Is(err, omniq.ErrState))
	// Output:
	// <nil>
	// a parcel for Bob, approved by Ada <nil>
	// true
}
