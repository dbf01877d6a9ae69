// Package river is the code of docs/from-river.md, as it reads with OmniQ.
package river

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// SortArgs are the arguments of Sort.
type SortArgs struct {
	Strings []string `json:"strings"`
}

// Sort sorts strings.
var Sort = omniq.DefineKwargs("sort", func(_ context.Context, args SortArgs) ([]string, error) {
	slices.Sort(args.Strings)
	return args.Strings, nil
}, omniq.Retries(24), omniq.Timeout(time.Minute))

// Work works until ctx ends, and what runs then has finished.
func Work(ctx context.Context, url string) error {
	backend, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	worker, err := omniq.NewWorker(backend, omniq.Handlers(Sort, Reconcile, Import), omniq.Concurrency(100),
		omniq.RetryDelays(patient, 0.1))
	if err != nil {
		return errors.Join(err, backend.Close())
	}
	return errors.Join(worker.Run(ctx), backend.Close())
}

// patient is River's default: the fourth power of the number of failures, in seconds.
func patient(f omniq.Failure) time.Duration {
	return time.Duration(math.Pow(float64(f.Failures), 4)) * time.Second
}

// Place enqueues in the caller's transaction.
func Place(ctx context.Context, tx pgx.Tx, client *omniq.Client) error {
	if _, err := tx.Exec(ctx, "INSERT INTO animals (name) VALUES ('whale')"); err != nil {
		return err
	}
	_, err := Sort.Enqueue(ctx, client.Tx(tx), SortArgs{Strings: []string{"whale", "tiger", "bear"}},
		omniq.Queue("sorting"), omniq.Priority(3), omniq.Delay(time.Minute), omniq.Metadata("tag", "zoo"))
	return err
}

// SortNow waits for the result.
func SortNow(ctx context.Context, client *omniq.Client, words []string) ([]string, error) {
	h, err := Sort.Enqueue(ctx, client, SortArgs{Strings: words})
	if err != nil {
		return nil, err
	}
	return h.Wait(ctx)
}

// ReconcileArgs are the arguments of Reconcile.
type ReconcileArgs struct {
	AccountID int `json:"account_id"`
}

// Reconcile reconciles an account.
var Reconcile = omniq.DefineKwargsVoid("reconcile_account", reconcile)

func reconcile(_ context.Context, args ReconcileArgs) error {
	switch {
	case args.AccountID == 0:
		return omniq.Permanent(errors.New("no such account")) // no retry
	case time.Now().Hour() == 3:
		return omniq.Snooze(time.Hour) // later, and no attempt is used
	}
	return nil
}

// ReconcileOnce enqueues an account once in a day.
func ReconcileOnce(ctx context.Context, client *omniq.Client, account int) error {
	_, err := Reconcile.Enqueue(ctx, client, ReconcileArgs{AccountID: account}, omniq.UniqueFor(strconv.Itoa(account), 24*time.Hour))
	if errors.Is(err, omniq.ErrDuplicate) {
		return nil // the handle that came with it is that of the task that is there
	}
	return err
}

// Book ends the task in the transaction of what it has done.
func Book(ctx context.Context, db *pgx.Conn) (int, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var number int
	if err := tx.QueryRow(ctx, "INSERT INTO bookings DEFAULT VALUES RETURNING id").Scan(&number); err != nil {
		return 0, err
	}
	if err := omniq.CompleteTx(ctx, tx, number); err != nil {
		return 0, err
	}
	return number, tx.Commit(ctx)
}

// Declare says when accounts are reconciled.
func Declare(ctx context.Context, client *omniq.Client) error {
	_, err := omniq.Schedule(ctx, client, "reconcile", omniq.Every(15*time.Minute),
		Reconcile.With(ReconcileArgs{AccountID: 1}))
	return err
}

// ImportArgs are the arguments of Import.
type ImportArgs struct {
	IDs []int `json:"ids"`
}

var lastImported = omniq.State[int]("last_imported")

// Import goes on where the last attempt ended.
var Import = omniq.DefineKwargsVoid("import", func(ctx context.Context, args ImportArgs) error {
	last, _, err := lastImported.Load(ctx)
	if err != nil {
		return err
	}
	for _, id := range args.IDs {
		if id <= last {
			continue
		}
		// ...
		if err := lastImported.Save(ctx, id); err != nil {
			return err
		}
	}
	return nil
})

// Watch tells what happens to tasks, in any process.
func Watch(ctx context.Context, client *omniq.Client, cursor *omniq.Cursor) iter.Seq[string] {
	return func(yield func(string) bool) {
		for event, err := range client.Follow(ctx, cursor) {
			if err != nil || !yield(fmt.Sprint(event.EventType, " ", event.TaskID)) {
				return
			}
		}
	}
}
