package sqlite_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// What a handler writes in a transaction and the result of its task are one: both are there, or neither.
func TestCompleteTx(t *testing.T) {
	b := open(t, place(t), sqlite.WithEvents(time.Hour))
	_, err := b.DB().Exec("CREATE TABLE notes (attempt INTEGER)")
	require.NoError(t, err)
	client, err := omniq.NewClient(b)
	require.NoError(t, err)

	// The first attempt ends in the way that the task says; the others commit.
	write := omniq.DefineArgs("write", func(ctx context.Context, args omniq.Args1[string]) (string, error) {
		how := args.V1
		info, _ := omniq.InfoFrom(ctx)
		tx, err := b.DB().BeginTx(ctx, nil)
		if err != nil {
			return "", err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.Exec("INSERT INTO notes VALUES (?)", info.Attempt); err != nil {
			return "", err
		}
		result := "said ⟨ " + how
		if err := omniq.CompleteTx(ctx, tx, result); err != nil {
			return "", err
		}
		if how == "forget" && info.Attempt == 1 {
			return result, nil
		}
		return result, tx.Commit()
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

	for how, attempts := range map[string]int{"commit": 1, "forget": 2} {
		t.Run(how, func(t *testing.T) {
			_, err := b.DB().Exec("DELETE FROM notes")
			require.NoError(t, err)
			h, err := write.Enqueue(t.Context(), client, omniq.Args1[string]{V1: how}, omniq.Unique(how))
			require.NoError(t, err)
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "said ⟨ "+how, got)
			var rows, last int
			require.NoError(t, b.DB().QueryRow("SELECT count(*), max(attempt) FROM notes").Scan(&rows, &last))
			assert.Equal(t, 1, rows, "what an attempt without an end has written is gone")
			assert.Equal(t, attempts, last)
			result, err := client.Result(t.Context(), h.ID())
			require.NoError(t, err)
			assert.Equal(t, attempts, result.Attempts)
		})
	}

	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, 2, stats[0].Succeeded)
	assert.Zero(t, stats[0].Ready+stats[0].Running+stats[0].Scheduled)
}
