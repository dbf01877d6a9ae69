package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

type tenantKey struct{}

// Each task has the tenant of the request that it comes from, and none is enqueued without one.
func ExampleUseEnqueue() {
	tenants := func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			tenant, ok := ctx.Value(tenantKey{}).(string)
			if !ok {
				return errors.New("no tenant")
			}
			for _, t := range tasks {
				t.Metadata = map[string]string{"tenant": tenant}
			}
			return next(ctx, tasks)
		}
	}
	backend := memory.New()
	client, err := omniq.NewClient(backend, omniq.UseEnqueue(tenants))
	if err != nil {
		panic(err)
	}
	who := omniq.DefineNoArgs("who", func(ctx context.Context) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		return "for " + info.Metadata["tenant"], nil
	})
	stop := work(backend, omniq.Handlers(who))
	defer stop()
	ctx := context.Background()
	_, err = who.Enqueue(ctx, client)
	fmt.Println(err)
	show(who.Enqueue(context.WithValue(ctx, tenantKey{}, "blue"), client))
	// Output:
	// no tenant
	// for blue
}

// A task exists if, and only if, the transaction commits.
func ExampleClient_Tx() {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	mail := omniq.ReferArgs[omniq.Args1[string], omniq.Void]("mail.send")
	for _, commit := range []bool{false, true} {
		tx := backend.Begin()
		h, err := mail.Enqueue(ctx, client.Tx(tx), omniq.MakeArgs1("ada@example.com"))
		if err != nil {
			panic(err)
		}
		if commit {
			err = tx.Commit()
		} else {
			err = tx.Rollback()
		}
		if err != nil {
			panic(err)
		}
		status, err := h.Status(ctx)
		fmt.Println(status, errors.Is(err, omniq.ErrNotFound))
	}
	// Output:
	// Status(0) true
	// PENDING false
}

// A reminder that is not due yet gets another text, unless a worker has it already.
func ExampleReference_Update() {
	client, err := omniq.NewClient(memory.New())
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	remind := omniq.ReferArgs[omniq.Args1[string], omniq.Void]("remind")
	h, err := remind.Enqueue(ctx, client, omniq.MakeArgs1("buy milk"), omniq.Delay(time.Hour))
	if err != nil {
		panic(err)
	}
	err = remind.Update(ctx, client, h.ID(), omniq.StatusPending, omniq.MakeArgs1("buy bread"))
	if errors.Is(err, omniq.ErrState) {
		fmt.Println("too late")
	}
	info, err := client.Inspect(ctx, h.ID())
	if err != nil {
		panic(err)
	}
	fmt.Println(string(info.Task.Args))
	// Output: ["buy bread"]
}

// A report that was planned for the night is wanted now.
func ExampleClient_RunNow() {
	report := omniq.DefineNoArgs("report", func(context.Context) (string, error) { return "all is well", nil })
	ctx, client, stop := demo(omniq.Handlers(report))
	defer stop()
	h, err := report.Enqueue(ctx, client, omniq.Delay(12*time.Hour))
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Status(ctx))
	fmt.Println(client.RunNow(ctx, h.ID()))
	show(h, nil)
	// Output:
	// PENDING <nil>
	// <nil>
	// all is well
}
