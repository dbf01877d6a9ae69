package river

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/examples/internal/server"
	"github.com/omniq-go/omniq/omniqtest"
)

func TestRiver(t *testing.T) {
	url := server.URL(t)
	backend, err := postgres.Open(t.Context(), url, postgres.WithEvents(time.Hour))
	require.NoError(t, err)
	defer func() { assert.NoError(t, backend.Close()) }()
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	db, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close(context.Background())) }()
	_, err = db.Exec(t.Context(), "CREATE TEMP TABLE animals (name text); CREATE TEMP TABLE bookings (id serial PRIMARY KEY)")
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 2)
	go func() { done <- Work(ctx, url) }()
	sorted, err := SortNow(t.Context(), client, []string{"b", "a"})
	assert.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, sorted)

	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, Place(t.Context(), tx, client))
	require.NoError(t, tx.Commit(t.Context()))
	var enqueued bool
	for info, err := range client.List(t.Context(), omniq.StatusPending, "sorting") {
		require.NoError(t, err)
		assert.Equal(t, "zoo", info.Task.Metadata["tag"])
		enqueued = true
	}
	assert.True(t, enqueued)

	book := omniq.DefineNoArgs("book", func(ctx context.Context) (int, error) { return Book(ctx, db) }, omniq.Queue("bookings"))
	worker, err := omniq.NewWorker(backend, omniq.Handlers(book), omniq.Queues("bookings"), omniq.WithoutSchedules())
	require.NoError(t, err)
	go func() { done <- worker.Run(ctx) }()
	booked, err := book.Enqueue(t.Context(), client)
	require.NoError(t, err)
	number, err := booked.Wait(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, 1, number)

	require.NoError(t, ReconcileOnce(t.Context(), client, 7))
	require.NoError(t, ReconcileOnce(t.Context(), client, 7))
	require.NoError(t, Declare(t.Context(), client))
	var start omniq.Cursor
	for what := range Watch(t.Context(), client, &start) {
		assert.Regexp(t, "^ENQUEUED ", what)
		break
	}
	stop()
	assert.NoError(t, <-done)
	assert.NoError(t, <-done)
}

func TestHandlers(t *testing.T) {
	task, err := Import.Task(ImportArgs{IDs: []int{1, 2, 3}})
	require.NoError(t, err)
	_, err = omniqtest.Run(t, Import, task)
	assert.NoError(t, err)
	none, err := Reconcile.Task(ReconcileArgs{})
	require.NoError(t, err)
	_, err = omniqtest.Run(t, Reconcile, none)
	assert.ErrorContains(t, err, "no such account")
	assert.Equal(t, 16*time.Second, patient(omniq.Failure{Failures: 2}))
}
