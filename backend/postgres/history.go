package postgres

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// keptMinutes is how old a minute is that is removed.
const keptMinutes = omniq.HistoryKept + time.Minute

const (
	// waitOf is how many microseconds the rows had been due, together. One that has a time of long ago, so as to be the first, has not
	// waited since then.
	waitOf = `(extract(epoch FROM sum({now} - least(greatest(due, {now} - interval '365 days'), {now}))) * 1000000)::bigint`

	// Sums over tallies, as the columns of history.
	talliedSums = `coalesce(sum(n) FILTER (WHERE what = 1), 0) AS enqueued, coalesce(sum(n) FILTER (WHERE what = 2), 0) AS started,
		coalesce(sum(n) FILTER (WHERE what = 3), 0) AS succeeded, coalesce(sum(n) FILTER (WHERE what = 4), 0) AS failed,
		coalesce(sum(n) FILTER (WHERE what = 5), 0) AS retried, coalesce(sum(n) FILTER (WHERE what = 6), 0) AS cancelled,
		coalesce(sum(n) FILTER (WHERE what = 7), 0) AS expired,
		least(coalesce(sum(us) FILTER (WHERE what = 2), 0), 9e18)::bigint AS wait,
		least(coalesce(sum(us) FILTER (WHERE what <> 2), 0), 9e18)::bigint AS run`

	// What is gathered stands in one of the two, in each snapshot.
	newMinutes = `SELECT date_trunc('minute', at, 'UTC') AS minute, queue, name, ` + talliedSums + ` FROM {s}.tallies
		WHERE date_trunc('minute', at, 'UTC') > {now} - interval '1 minute' - $1 * interval '1 microsecond' GROUP BY 1, 2, 3`
	oldMinutes = `SELECT minute, queue, name, enqueued, started, succeeded, failed, retried, cancelled, expired, wait, run FROM {s}.history
		WHERE minute > {now} - interval '1 minute' - $1 * interval '1 microsecond' ORDER BY minute, queue, name`

	// One process at a time moves rows. Of a minute that has $3 pairs already it moves those that are new to the function alone.
	gatherTallies = `WITH
	gone AS (
		DELETE FROM {s}.tallies WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.tallies WHERE (SELECT pg_try_advisory_xact_lock($2)) LIMIT $1))
		RETURNING date_trunc('minute', at, 'UTC') AS minute, what, n, us, queue, name),
	places AS MATERIALIZED (
		SELECT p.*, p.old OR m.n + row_number() OVER (PARTITION BY p.minute, p.old ORDER BY p.queue, p.name) <= $3 AS own
		FROM (SELECT g.*, (SELECT true FROM {s}.history h WHERE h.minute = g.minute AND h.queue = g.queue AND h.name = g.name) IS TRUE AS old
			FROM (SELECT DISTINCT minute, queue, name FROM gone) g OFFSET 0) p
		JOIN (SELECT d.minute, (SELECT count(*) FROM {s}.history h WHERE h.minute = d.minute) AS n
			FROM (SELECT DISTINCT minute FROM gone) d OFFSET 0) m ON m.minute = p.minute),
	gathered AS (
		INSERT INTO {s}.history AS h (minute, queue, name, enqueued, started, succeeded, failed, retried, cancelled, expired, wait, run)
		SELECT g.minute, CASE WHEN p.own THEN g.queue ELSE '' END AS queue, g.name, ` + talliedSums + `
		FROM gone g JOIN places p ON p.minute = g.minute AND p.queue = g.queue AND p.name = g.name GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
		ON CONFLICT (minute, queue, name) DO UPDATE SET enqueued = h.enqueued + excluded.enqueued, started = h.started + excluded.started,
			succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed, retried = h.retried + excluded.retried,
			cancelled = h.cancelled + excluded.cancelled, expired = h.expired + excluded.expired,
			wait = least(h.wait::numeric + excluded.wait, 9e18), run = least(h.run::numeric + excluded.run, 9e18))
	SELECT count(*) FROM gone`

	sweepMinutes = `WITH gone AS (
			DELETE FROM {s}.history WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.history WHERE minute < {now} - $2 * interval '1 microsecond' ORDER BY minute LIMIT $1
				FOR UPDATE SKIP LOCKED)) RETURNING minute)
		SELECT count(*) FROM gone`
)

// historyLock is the advisory lock of the one who writes the history.
func (b *Backend) historyLock() int64 {
	hash := fnv.New64a()
	hash.Write([]byte("omniq history " + b.config.schema))
	return int64(hash.Sum64())
}

// History tells what was done with tasks: see [omniq.Monitor].
func (b *Backend) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	if err := engine.CheckHistory(last); err != nil {
		return nil, err
	}
	if err := b.settled(ctx); err != nil {
		return nil, err
	}
	type key struct {
		start int64
		engine.Place
	}
	keyOf := func(m *omniq.Minute) key {
		return key{m.Start.UnixMicro(), engine.Place{Queue: m.Queue, Name: m.FuncName}}
	}
	var list []omniq.Minute
	recent := make(map[key]omniq.Minute)
	from := []any{min(last, omniq.HistoryKept).Microseconds()}
	err := b.search(ctx,
		stmt{sql: b.sql.of(newMinutes), args: from, row: func(row scanner) error {
			m, err := scanMinute(row)
			recent[keyOf(&m)] = m
			return err
		}},
		stmt{sql: b.sql.of(oldMinutes), args: from, row: func(row scanner) error {
			m, err := scanMinute(row)
			if more, some := recent[keyOf(&m)]; some {
				delete(recent, keyOf(&m))
				engine.AddMinute(&m, &more)
			}
			list = engine.AppendMinute(list, m)
			return err
		}})
	if err != nil {
		return nil, err
	}
	for _, m := range recent {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b omniq.Minute) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Queue, b.Queue), strings.Compare(a.FuncName, b.FuncName))
	})
	return list, nil
}

func scanMinute(row scanner) (m omniq.Minute, err error) {
	var wait, run int64
	err = row.Scan(&m.Start, &m.Queue, &m.FuncName, &m.Enqueued, &m.Started, &m.Succeeded, &m.Failed, &m.Retried, &m.Cancelled, &m.Expired, &wait, &run)
	m.Start, m.Wait, m.Run = m.Start.UTC(), engine.Spent(wait), engine.Spent(run)
	return m, err
}
