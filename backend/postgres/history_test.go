package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// What was done is gathered by several processes while others do more, and read meanwhile: nothing is missing in any moment, and nothing
// is counted twice. What is older than a day goes.
func TestHistoryIsGathered(t *testing.T) {
	t.Parallel()
	where := place(t)
	b, other := open(t, where), open(t, where)
	q := func(text string) string { return strings.ReplaceAll(text, "{s}", b.Schema()) }
	c := connect(t, url(t))
	_, err := c.Exec(t.Context(), q("INSERT INTO {s}.tallies SELECT now() - interval '25 h', 1, 1, 0, 'old', 'f' FROM generate_series(1, 500)"))
	require.NoError(t, err)
	const n, places = 20_000, 3 * omniq.MaxPlaces
	_, err = c.Exec(t.Context(), q(`INSERT INTO {s}.tallies SELECT now(), 1 + i % 7, 1, 10, 'q' || i % $2, 'f' || i % 2 FROM generate_series(1, $1::int) i`), n, places)
	require.NoError(t, err)
	sum := func() (all int, spent time.Duration, pairs int) {
		minutes, err := other.History(t.Context(), time.Hour)
		require.NoError(t, err)
		for i, m := range minutes {
			all += m.Enqueued + m.Started + m.Succeeded + m.Failed + m.Retried + m.Cancelled + m.Expired
			spent += m.Wait + m.Run
			if i > 0 {
				assert.True(t, minutes[i-1].Start.Before(m.Start) || minutes[i-1].Queue < m.Queue || minutes[i-1].FuncName < m.FuncName, "each is there once")
			}
		}
		return all, spent, len(minutes)
	}
	var wg sync.WaitGroup
	for _, b := range []*postgres.Backend{b, other} {
		wg.Go(func() { assert.NoError(t, b.Sweep(t.Context())) })
	}
	gathered := func() bool {
		var left int
		require.NoError(t, c.QueryRow(t.Context(), q("SELECT count(*) FROM {s}.tallies")).Scan(&left))
		return left < 200
	}
	for done := false; !done; {
		done = gathered()
		all, spent, _ := sum()
		require.Equal(t, n, all)
		require.Equal(t, n*10*time.Microsecond, spent)
	}
	wg.Wait()
	_, _, pairs := sum()
	assert.Less(t, pairs, places, "queues beyond those that are told apart are together")
	assert.GreaterOrEqual(t, pairs, omniq.MaxPlaces)
	require.NoError(t, b.Sweep(t.Context()))
	var old int
	require.NoError(t, c.QueryRow(t.Context(), q("SELECT count(*) FROM {s}.history WHERE queue = 'old'")).Scan(&old))
	assert.Zero(t, old)
}

// Those who do things at the same moment do not wait for each other because these are counted: not for who has not committed yet, and not
// for who gathers.
func TestHistoryMakesNobodyWait(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	_, err = b.Tx(tx).Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
	require.NoError(t, err)
	gatherer := connect(t, url(t))
	_, err = gatherer.Exec(t.Context(), "BEGIN")
	require.NoError(t, err)
	_, err = gatherer.Exec(t.Context(), fmt.Sprintf("DELETE FROM %[1]s.tallies; SELECT pg_advisory_xact_lock(%[2]d)", b.Schema(), b.HistoryLock()))
	require.NoError(t, err)
	enqueue(t, b, newTask(t))
	finish(t, b, lease(t, b), "1", time.Hour)
	minutes, err := b.History(t.Context(), time.Hour)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(minutes, func(m omniq.Minute) bool { return m.Succeeded == 1 }))
	_, err = gatherer.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
}
