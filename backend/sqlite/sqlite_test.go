package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func open(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Backend {
	t.Helper()
	b, err := sqlite.Open(path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func place(t testing.TB) string { return filepath.Join(t.TempDir(), "queue.db") }

func lease(tb testing.TB, b omniq.Backend, duration time.Duration) omniq.Lease {
	tb.Helper()
	leases, err := b.Lease(tb.Context(), omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: duration, Wait: time.Minute, WorkerID: "w",
	})
	require.NoError(tb, err)
	require.Len(tb, leases, 1)
	return leases[0]
}

func finish(l omniq.Lease, data string, keep time.Duration) omniq.Settlement {
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(data), Timestamp: time.Now().UTC(), TTL: &keep,
		Attempts: l.Attempt,
	}}
}

func settle(tb testing.TB, b omniq.Backend, s omniq.Settlement) error {
	tb.Helper()
	errs, err := b.Settle(tb.Context(), []omniq.Settlement{s})
	require.NoError(tb, err)
	if errs == nil {
		return nil
	}
	return errs[0]
}

func ids(tasks ...*omniq.RawTask) []uuid.UUID {
	list := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		list[i] = t.ID
	}
	return list
}
