package postgres_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// What a handler writes in a transaction and the result of its task are one: both are there, or neither.
func TestCompleteTx(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name), postgres.WithEvents(time.Hour), postgres.WithPollInterval(time.Hour))
	listening(t, b, name, 1)
	_, err := b.Pool().Exec(t.Context(), "CREATE TABLE "+name+".notes (attempt integer)")
	require.NoError(t, err)
	db := stdlib.OpenDBFromPool(b.Pool())
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	client, err := omniq.NewClient(b)
	require.NoError(t, err)

	type transaction struct {
		tx               any
		exec             func(string, ...any) error
		commit, rollback func() error
	}
	begin := map[string]func(context.Context) (transaction, error){
		"pgx": func(ctx context.Context) (transaction, error) {
			tx, err := b.Pool().Begin(ctx)
			return transaction{
				tx, func(q string, args ...any) error { _, err := tx.Exec(ctx, q, args...); return err },
				func() error { return tx.Commit(ctx) }, func() error { return tx.Rollback(ctx) },
			}, err
		},
		"sql": func(ctx context.Context) (transaction, error) {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{})
			return transaction{
				tx, func(q string, args ...any) error { _, err := tx.Exec(q, args...); return err }, tx.Commit, tx.Rollback,
			}, err
		},
	}
	// The first attempt ends in the way that the task says; the others commit.
	write := omniq.DefineArgs(name+".write", func(ctx context.Context, how omniq.Args2[string, string]) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		tx, err := begin[how.V1](ctx)
		if err != nil {
			return "", err
		}
		defer func() { _ = tx.rollback() }()
		if err := tx.exec("INSERT INTO "+name+".notes VALUES ($1)", info.Attempt); err != nil {
			return "", err
		}
		result := "said ⟨ " + how.V2
		if err := omniq.CompleteTx(ctx, tx.tx, result); err != nil {
			return "", err
		}
		if how.V2 == "forget" && info.Attempt == 1 {
			return result, nil
		}
		return result, tx.commit()
	})
	w, err := omniq.NewWorker(b, omniq.Handlers(write), omniq.RetryDelays(omniq.Constant(0), 0), omniq.Logger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-done)
	})

	for kind := range begin {
		for how, attempts := range map[string]int{"commit": 1, "forget": 2} {
			t.Run(kind+"/"+how, func(t *testing.T) {
				_, err := b.Pool().Exec(t.Context(), "DELETE FROM "+name+".notes")
				require.NoError(t, err)
				h, err := write.Enqueue(t.Context(), client, omniq.Args2[string, string]{V1: kind, V2: how}, omniq.Unique(kind+how))
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "said ⟨ "+how, got)
				var rows, last int
				require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(*), max(attempt) FROM "+name+".notes").Scan(&rows, &last))
				assert.Equal(t, 1, rows, "what an attempt without an end has written is gone")
				assert.Equal(t, attempts, last)
				result, err := client.Result(t.Context(), h.ID())
				require.NoError(t, err)
				assert.Equal(t, attempts, result.Attempts)
			})
		}
	}
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, 4, stats[0].Succeeded)
	assert.Zero(t, stats[0].Ready+stats[0].Running+stats[0].Scheduled)
}
