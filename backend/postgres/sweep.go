package postgres

import (
	"context"
	"time"

	"github.com/omniq-go/omniq"
)

const (
	manyCounts = 200 // rows of counts that are worth gathering

	// grace is how long a result is there that is not to be kept, for those who wait for it in other processes.
	grace = 5 * time.Second

	sweepEvery = time.Second
)

// rubbish says of which kinds there is something to remove.
type rubbish struct{ results, lapsed, keys, revoked, counts, tallies, minutes, workers, stirs, lanes, bounds, events bool }

const (
	findRubbish = `SELECT EXISTS (SELECT FROM {s}.results WHERE expires <= {now} - $1 * interval '1 microsecond'),
	EXISTS (SELECT FROM {s}.results WHERE lapses <= {now}),
	EXISTS (SELECT FROM {s}.unique_keys WHERE until <= {now}),
	EXISTS (SELECT FROM {s}.revoked WHERE until <= {now}),
	(SELECT count(*) >= $2 FROM (SELECT FROM {s}.counts LIMIT $2) c),
	(SELECT count(*) >= $2 FROM (SELECT FROM {s}.tallies LIMIT $2) t),
	EXISTS (SELECT FROM {s}.history WHERE minute < {now} - $3 * interval '1 microsecond'),
	EXISTS (SELECT FROM {s}.workers WHERE until <= {now}),
	EXISTS (SELECT FROM {s}.stirs WHERE queue > ''),
	EXISTS (SELECT FROM {s}.lanes WHERE n <= 0 AND lane <> '' AND greatest(used, held) <= ` + us + `),
	EXISTS (SELECT FROM {s}.limits q WHERE ` + unbound + `),
	EXISTS (SELECT FROM {s}.events WHERE place IS NULL) OR (
		SELECT until <= {now} FROM {s}.events WHERE place > (SELECT gone FROM {s}.event_places) ORDER BY place LIMIT 1) IS TRUE`

	// Each of these skips rows that others have locked, and says how many it has found.
	sweepResults = `WITH gone AS (
			DELETE FROM {s}.results WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.results WHERE expires <= {now} - $2 * interval '1 microsecond' ORDER BY expires LIMIT $1
				FOR UPDATE SKIP LOCKED))
			RETURNING queue, status, tie),
		untied AS (INSERT INTO {s}.work (kind, tie) SELECT 2, tie FROM gone WHERE tie IS NOT NULL),
		counted AS (INSERT INTO {s}.counts SELECT queue, status, -count(*) FROM gone GROUP BY queue, status)
		SELECT count(*) FROM gone`

	// Results whose time is over, and of which it was not known whether others need them. It is looked again, after a pause that
	// grows with the age of the result.
	sweepLapsed = `WITH over AS MATERIALIZED (
			SELECT ctid AS at, id, since FROM {s}.results WHERE lapses <= {now} ORDER BY lapses LIMIT $1 FOR UPDATE SKIP LOCKED),
		looked AS (
			UPDATE {s}.results r SET
				expires = CASE WHEN n.needed THEN r.expires ELSE {now} END,
				lapses = CASE WHEN n.needed THEN {now} + least(greatest(({now} - o.since) / 8, interval '1 second'), interval '1 hour') END
			FROM over o CROSS JOIN LATERAL (SELECT ` + neededBy + ` AS needed) n
			WHERE r.ctid = o.at RETURNING r.id)
		SELECT count(*) FROM looked`

	// neededBy says whether the result of o is an input of a task that is kept and has not succeeded.
	neededBy = `EXISTS (
				SELECT FROM (SELECT e.task, e.tie FROM {s}.edges e WHERE e.dep = o.id AND e.input OFFSET 0) e
				WHERE (SELECT true FROM {s}.tasks t WHERE t.id = e.task AND t.tie = e.tie)
					OR (SELECT true FROM {s}.results f WHERE f.id = e.task AND f.tie = e.tie AND f.status > 3
						AND (f.expires IS NULL OR f.expires > {now})))`

	sweepKeys = `WITH gone AS (
			DELETE FROM {s}.unique_keys WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.unique_keys WHERE until <= {now} ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING until)
		SELECT count(*) FROM gone`

	sweepRevoked = `WITH gone AS (
			DELETE FROM {s}.revoked WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.revoked WHERE until <= {now} ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING until)
		SELECT count(*) FROM gone`

	gatherCounts = `WITH gone AS (
			DELETE FROM {s}.counts WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.counts LIMIT $1 FOR UPDATE SKIP LOCKED))
			RETURNING queue, state, n),
		gathered AS (
			INSERT INTO {s}.counts SELECT queue, state, sum(n) FROM gone GROUP BY queue, state HAVING sum(n) <> 0 RETURNING n)
		SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM gathered)`
)

// find finds out.
func (r *rubbish) find(b *Backend) stmt {
	return stmt{sql: b.sql.of(findRubbish), args: []any{grace.Microseconds(), manyCounts, keptMinutes.Microseconds()}, row: func(row scanner) error {
		return row.Scan(&r.results, &r.lapsed, &r.keys, &r.revoked, &r.counts, &r.tallies, &r.minutes, &r.workers, &r.stirs, &r.lanes, &r.bounds, &r.events)
	}}
}

// sweep removes what is over, some at a time, so that no transaction is long.
func (b *Backend) sweep(ctx context.Context, r rubbish) error {
	if r.stirs {
		if err := b.sweepStirs(ctx); err != nil {
			return err
		}
	}
	kinds := []struct {
		some     bool
		template string
		args     []any
	}{
		{r.lapsed, sweepLapsed, nil},
		{r.results, sweepResults, []any{grace.Microseconds()}},
		{r.keys, sweepKeys, nil},
		{r.revoked, sweepRevoked, nil},
		{r.counts, gatherCounts, nil},
		{r.tallies, gatherTallies, []any{b.historyLock(), omniq.MaxPlaces}},
		{r.minutes, sweepMinutes, []any{keptMinutes.Microseconds()}},
		{r.workers, sweepWorkers, nil},
		{r.lanes, sweepLanes, nil},
	}
	for _, k := range kinds {
		var p pace
		for more := k.some; more; {
			var n int
			limit, began := p.rows(), time.Now()
			bound, cancel := bounded(ctx)
			err := b.write(bound, func() []stmt {
				return []stmt{{sql: unflushed}, {
					sql: b.sql.of(k.template), args: append([]any{limit}, k.args...),
					row: func(row scanner) error { return row.Scan(&n) },
				}}
			})
			cancel()
			if err != nil {
				return err
			}
			more = n >= limit/2 && n > 0
			p.done(limit, time.Since(began))
		}
	}
	if r.bounds {
		if err := b.sweepBounds(ctx); err != nil {
			return err
		}
	}
	if r.events {
		return b.sweepEvents(ctx)
	}
	return nil
}
