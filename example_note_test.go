package omniq_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/omniq-go/omniq"
)

// A handler tells how far it is as often as it likes, and whoever has a handle follows it.
func ExampleProgress() {
	type CopyProgress struct {
		Done, Total int
	}
	copied := omniq.Progress[CopyProgress]("copied") // a variable of the package, in a program
	seen := make(chan struct{})
	copyAll := omniq.DefineArgsVoid("files.copy", func(ctx context.Context, files []string) error {
		for i := range files {
			if err := copied.Set(ctx, CopyProgress{i + 1, len(files)}); err != nil {
				return err
			}
			if i == 1 {
				<-seen // which stands for work
			}
		}
		return nil
	})
	ctx, client, stop := demo(omniq.Handlers(copyAll))
	defer stop()

	h, err := copyAll.Enqueue(ctx, client, []string{"a", "b", "c"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for p, err := range copied.Follow(ctx, h) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d of %d\n", p.Done, p.Total)
		if p.Done == 2 {
			close(seen)
		}
	}
	p, ok, err := copied.Of(ctx, h) // it stays with the result
	fmt.Println(p, ok, err)
	// Output:
	// 2 of 3
	// 3 of 3
	// {3 3} true <nil>
}

// An attempt goes on where the one before it has stopped.
func ExampleState() {
	cursor := omniq.State[int]("cursor") // a variable of the package, in a program
	send := omniq.DefineArgsVoid("mails.send", func(ctx context.Context, to []string) error {
		from, _, err := cursor.Load(ctx)
		if err != nil {
			return err
		}
		info, _ := omniq.InfoFrom(ctx)
		for i := from; i < len(to); i++ {
			if to[i] == "carol" && info.Attempt == 1 {
				return omniq.RetryAfter(0, errors.New("the line is down"))
			}
			fmt.Println("attempt", info.Attempt, "writes to", to[i])
			if err := cursor.Save(ctx, i+1); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, client, stop := demo(omniq.Handlers(send))
	defer stop()

	h, err := send.Enqueue(ctx, client, []string{"alice", "bob", "carol"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = h.Wait(ctx)
	fmt.Println(err)
	// Output:
	// attempt 1 writes to alice
	// attempt 1 writes to bob
	// attempt 2 writes to carol
	// <nil>
}

// Rows are read while the handler sends them, or later: each reader gets all of them, in their order.
func ExampleStream() {
	type Row struct {
		ID   int
		Name string
	}
	rows := omniq.Stream[Row]("rows") // a variable of the package, in a program
	export := omniq.DefineArgs("table.export", func(ctx context.Context, names []string) (int, error) {
		for i, name := range names {
			if err := rows.Send(ctx, Row{i + 1, name}); err != nil {
				return 0, err
			}
		}
		return len(names), nil
	})
	ctx, client, stop := demo(omniq.Handlers(export))
	defer stop()

	h, err := export.Enqueue(ctx, client, []string{"Ada", "Grace"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for row, err := range rows.Of(ctx, h) { // ends when the task has
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.ID, row.Name)
	}
	fmt.Println(h.Wait(ctx))
	// Output:
	// 1 Ada
	// 2 Grace
	// 2 <nil>
}
