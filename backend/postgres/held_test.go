package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/codec"
)

var two = omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 2, Duration: time.Minute, Wait: 10 * time.Second}

func leaseTwo(t *testing.T, b omniq.Backend, ahead int) []omniq.Lease {
	t.Helper()
	r := two
	r.Ahead = ahead
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, leases, 2)
	return leases
}

func success(l omniq.Lease) omniq.Settlement {
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now().UTC(), Attempts: l.Attempt,
	}}
}

// What is done to leases does not wait for an open transaction that has locked one task, or the key that one holds: the
// others are done, and that one is done when the transaction has ended.
func TestLockedLeases(t *testing.T) {
	calls := map[string]func(b omniq.Backend, l []omniq.Lease) ([]error, error){
		"Settle": func(b omniq.Backend, l []omniq.Lease) ([]error, error) {
			return b.Settle(context.Background(), []omniq.Settlement{success(l[0]), success(l[1])})
		},
		"Retry": func(b omniq.Backend, l []omniq.Lease) ([]error, error) {
			return b.Settle(context.Background(), []omniq.Settlement{
				{LeaseID: l[0].LeaseID, Action: omniq.ActionRetry, Delay: time.Hour}, success(l[1]),
			})
		},
		"Extend": func(b omniq.Backend, l []omniq.Lease) ([]error, error) {
			return b.Extend(context.Background(), []omniq.LeaseID{l[0].LeaseID, l[1].LeaseID}, time.Hour)
		},
		"Start": func(b omniq.Backend, l []omniq.Lease) ([]error, error) {
			return b.Start(context.Background(), []omniq.LeaseID{l[0].LeaseID, l[1].LeaseID})
		},
	}
	locks := map[string]string{
		"a task": "SELECT FROM {s}.tasks WHERE unique_key = 'k' FOR UPDATE",
		"a key":  "SELECT FROM {s}.unique_keys WHERE key = 'k' FOR UPDATE",
	}
	for name, call := range calls {
		for what, lock := range locks {
			t.Run(name+" while "+what+" is locked", func(t *testing.T) {
				t.Parallel()
				b := open(t, place(t))
				enqueue(t, b, newTask(t, omniq.Unique("k")), newTask(t))
				leases := leaseTwo(t, b, 2)
				tx, err := b.Pool().Begin(t.Context())
				require.NoError(t, err)
				defer func() { _ = tx.Rollback(context.Background()) }()
				_, err = tx.Exec(t.Context(), strings.ReplaceAll(lock, "{s}", b.Schema()))
				require.NoError(t, err)
				errs, err := call(b, leases)
				require.NoError(t, err)
				if what == "a key" && name != "Settle" {
					require.Nil(t, errs, "it does not touch the key")
					return
				}
				require.Len(t, errs, 2)
				require.ErrorContains(t, errs[0], "another transaction has locked task "+leases[0].TaskID.String())
				require.NotErrorIs(t, errs[0], omniq.ErrLeaseLost)
				require.NoError(t, errs[1])
				require.NoError(t, tx.Rollback(t.Context()))
				errs, err = call(b, leases)
				require.NoError(t, err)
				if errs != nil {
					require.NoError(t, errs[0], "its lease is held")
				}
			})
		}
	}
}

// The transaction of a caller that enqueues the same ID or the same key, and stays open, holds up no settlement.
func TestCallersTransactionHoldsNoLease(t *testing.T) {
	b := open(t, place(t))
	tasks := []*omniq.RawTask{newTask(t, omniq.Unique("k")), newTask(t)}
	enqueue(t, b, tasks...)
	leases := leaseTwo(t, b, 0)
	require.NoError(t, pgx.BeginFunc(t.Context(), b.Pool(), func(tx pgx.Tx) error {
		errs, err := b.Tx(tx).Enqueue(t.Context(), []*omniq.RawTask{newTask(t, omniq.Unique("k")), tasks[1]})
		require.NoError(t, err)
		require.ErrorIs(t, errs[0], omniq.ErrDuplicate)
		require.ErrorIs(t, errs[1], omniq.ErrDuplicate)
		for _, arguments := range []string{"'" + tasks[0].FuncName + "', unique_key => 'k'", "'f', id => '" + tasks[1].ID.String() + "'"} {
			_, err = tx.Exec(t.Context(), "SELECT "+b.Schema()+".enqueue("+arguments+")")
			require.NoError(t, err)
		}
		errs, err = b.Settle(t.Context(), []omniq.Settlement{success(leases[0]), success(leases[1])})
		require.NoError(t, err)
		require.Nil(t, errs)
		return nil
	}))
}

// What cannot be stored is refused in its place, and the others are done.
func TestSettleInvalid(t *testing.T) {
	b := open(t, place(t))
	outcome := func(change func(*omniq.Settlement)) func(omniq.Lease) omniq.Settlement {
		return func(l omniq.Lease) omniq.Settlement {
			s := success(l)
			change(&s)
			return s
		}
	}
	tests := map[string]struct {
		settlement func(omniq.Lease) omniq.Settlement
		message    string
	}{
		"no JSON": {outcome(func(s *omniq.Settlement) { s.Result.ResultData = omniq.Raw("{") }), "result_data"},
		"a result at the limit": {outcome(func(s *omniq.Settlement) {
			s.Result.ResultData = omniq.Raw(`"` + strings.Repeat("x", codec.MaxSize-100) + `"`)
		}), "bytes"},
		"a large error": {outcome(func(s *omniq.Settlement) {
			s.Result.Status, s.Result.ResultData = omniq.StatusFailure, nil
			s.Result.Error = &omniq.TaskError{Type: "x", Message: strings.Repeat("x", 17<<20)}
		}), "bytes"},
		"a large error of a retry": {outcome(func(s *omniq.Settlement) {
			s.Action, s.Result, s.Error = omniq.ActionRetry, nil, &omniq.TaskError{Type: "x", Message: strings.Repeat("x", 17<<20)}
		}), "bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			enqueue(t, b, newTask(t), newTask(t))
			leases := leaseTwo(t, b, 0)
			errs, err := b.Settle(t.Context(), []omniq.Settlement{tt.settlement(leases[0]), success(leases[1])})
			require.NoError(t, err)
			require.Len(t, errs, 2)
			require.ErrorIs(t, errs[0], omniq.ErrInvalid)
			require.ErrorContains(t, errs[0], tt.message)
			require.ErrorContains(t, errs[0], leases[0].TaskID.String())
			require.NoError(t, errs[1])
			finish(t, b, leases[0], "1", time.Hour)
		})
	}
}

// A database whose encoding lacks characters refuses the settlements, and the tasks, that have them, and no others.
func TestOtherEncoding(t *testing.T) {
	name := schema(t)
	exec(t, "CREATE DATABASE "+name+" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() { exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	b, err := postgres.Open(t.Context(), strings.Replace(url(t), "/postgres?", "/"+name+"?", 1))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	for range 3 {
		enqueue(t, b, newTask(t), newTask(t))
	}
	r := two
	r.Max = 6
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, leases, 6)
	settlements := make([]omniq.Settlement, len(leases))
	for i, l := range leases {
		settlements[i] = success(l)
	}
	settlements[0].Result.ResultData = omniq.Raw(`"é"`)
	settlements[1].Result.ResultData = omniq.Raw(`"🎉"`)
	settlements[2].Result.Error = &omniq.TaskError{Message: "it says 🎉"}
	settlements[2].Result.Status, settlements[2].Result.ResultData = omniq.StatusFailure, nil
	settlements[3] = omniq.Settlement{
		LeaseID: leases[3].LeaseID, Action: omniq.ActionRetry, Error: &omniq.TaskError{Message: "🎉"}, Delay: time.Hour,
	}
	settlements[4].Action, settlements[4].Result = omniq.ActionRelease, nil
	errs, err := b.Settle(t.Context(), settlements)
	require.NoError(t, err)
	for i, err := range errs {
		if i >= 1 && i <= 3 {
			assert.ErrorIs(t, err, omniq.ErrInvalid, i)
			assert.ErrorContains(t, err, "has no equivalent in encoding", i)
		} else {
			assert.NoError(t, err, i)
		}
	}
	r = two
	r.WorkerID = "🎉"
	_, err = b.Lease(t.Context(), r)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = b.Enqueue(t.Context(), []*omniq.RawTask{newTask(t, omniq.Unique("🎉"))})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	for i, arguments := range []string{`'f', unique_key => E'\u00a0k'`, `'f', unique_key => repeat(E'\u00e9', 128)`} {
		_, err := sqlEnqueue(t, b, postgres.DefaultSchema, arguments)
		require.ErrorContains(t, err, []string{"no white space at an end", "want 1 to 255 bytes"}[i])
	}
}
