package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// Metrics count what became of attempts, as the engine has stored it.
func ExampleOnSettle() {
	told := make(chan omniq.SettledAttempt, 10)
	call := omniq.DefineNoArgs("call", func(ctx context.Context) (string, error) {
		if info, _ := omniq.InfoFrom(ctx); info.Attempt == 1 {
			return "", omniq.RetryAfter(time.Millisecond, errors.New("no answer"))
		}
		return "hello", nil
	})
	ctx, client, stop := demo(omniq.Handlers(call), omniq.OnSettle(func(s omniq.SettledAttempt) { told <- s }))
	defer stop()
	if _, err := call.Enqueue(ctx, client); err != nil {
		panic(err)
	}
	for range 2 {
		s := <-told
		fmt.Println(s.Info.FuncName, s.Info.Attempt, s.Outcome, s.Delay)
	}
	// Output:
	// call 1 retry 1ms
	// call 2 success 0s
}

// Mail gets about three tasks of four while both queues have some. Neither waits for ever.
func ExampleQueueWeights() {
	hello := omniq.DefineNoArgs("hello", func(ctx context.Context) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		return "from " + info.Queue, nil
	})
	ctx, client, stop := demo(omniq.Handlers(hello), omniq.QueueWeights(map[string]int{"mail": 3, "reports": 1}))
	defer stop()
	show(hello.Enqueue(ctx, client, omniq.Queue("mail")))
	show(hello.Enqueue(ctx, client, omniq.Queue("reports")))
	// Output:
	// from mail
	// from reports
}

// However many reports wait, the worker makes one at a time, and has its other handlers for the mail.
func ExampleQueueLimit() {
	first := make(chan struct{})
	report := omniq.DefineArgs("report", func(_ context.Context, month omniq.Args1[string]) (string, error) {
		if month.V1 == "January" {
			<-first
		}
		return month.V1, nil
	}, omniq.Queue("reports"))
	mail := omniq.DefineNoArgs("mail", func(context.Context) (string, error) { return "mail", nil }, omniq.Queue("mail"))
	ctx, client, stop := demo(omniq.Handlers(report, mail), omniq.Queues("reports", "mail"), omniq.QueueLimit("reports", 1))
	defer stop()
	january, err := report.Enqueue(ctx, client, omniq.MakeArgs1("January"))
	if err != nil {
		panic(err)
	}
	february, err := report.Enqueue(ctx, client, omniq.MakeArgs1("February"))
	if err != nil {
		panic(err)
	}
	show(mail.Enqueue(ctx, client))
	fmt.Println(february.Status(ctx))
	close(first)
	show(january, nil)
	show(february, nil)
	// Output:
	// mail
	// PENDING <nil>
	// January
	// February
}

// What the handler enqueues, writes, and its own end are one. With SQLite or PostgreSQL tx is one of the program's
// database; here it is one of the backend in memory.
func ExampleCompleteTx() {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	receipt := omniq.DefineArgs("receipt", func(_ context.Context, amount omniq.Args1[int]) (string, error) {
		return fmt.Sprint("receipt for ", amount.V1), nil
	})
	sent := make(chan *omniq.Handle[string], 1)
	pay := omniq.DefineArgs("pay", func(ctx context.Context, amount omniq.Args1[int]) (string, error) {
		tx := backend.Begin()
		defer func() { _ = tx.Rollback() }() // which does nothing after Commit
		h, err := receipt.Enqueue(ctx, client.Tx(tx), amount)
		if err != nil {
			return "", err
		}
		if err := omniq.CompleteTx(ctx, tx, "paid"); err != nil {
			return "", err
		}
		if err := tx.Commit(); err != nil {
			return "", err
		}
		sent <- h
		return "paid", nil
	})
	stop := work(backend, omniq.Handlers(pay, receipt))
	defer stop()
	show(pay.Enqueue(context.Background(), client, omniq.MakeArgs1(7)))
	show(<-sent, nil)
	// Output:
	// paid
	// receipt for 7
}

var errBusy = errors.New("the other side is busy")

// A busy server is asked again soon, for as long as attempts are left. Nothing else is tried again.
func ExampleBackoff() {
	policy := func(f omniq.Failure) time.Duration {
		if errors.Is(f.Err, errBusy) {
			return time.Duration(f.Failures) * time.Millisecond
		}
		return -1
	}
	call := omniq.DefineNoArgs("call", func(ctx context.Context) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		fmt.Println("attempt", info.Attempt)
		if info.Attempt < 3 {
			return "", fmt.Errorf("cannot call: %w", errBusy)
		}
		return "", errors.New("unknown number")
	}, omniq.Retries(10))
	ctx, client, stop := demo(omniq.Handlers(call), omniq.RetryDelays(policy, 0.2))
	defer stop()
	show(call.Enqueue(ctx, client))
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
	// error: unknown number
}

// A snooze is no failure, and a log should not call it one.
func ExampleSnoozed() {
	log := func(next omniq.HandlerFunc) omniq.HandlerFunc {
		return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
			result, err := next(ctx, task)
			if delay, ok := omniq.Snoozed(err); ok {
				fmt.Println("not yet, again in", delay)
			} else if err != nil {
				fmt.Println("failed:", err)
			}
			return result, err
		}
	}
	looks := 0
	pick := omniq.DefineNoArgs("pick", func(context.Context) (string, error) {
		if looks++; looks == 1 {
			return "", omniq.Snooze(100 * time.Millisecond)
		}
		return "picked up", nil
	})
	ctx, client, stop := demo(omniq.Handlers(pick), omniq.Use(log))
	defer stop()
	show(pick.Enqueue(ctx, client))
	// Output:
	// not yet, again in 100ms
	// picked up
}
