package postgres

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// counts holds by how much the numbers of tasks and results have changed. They are wrong after somebody has written into
// the tables by hand, or restored a part of them, and are compared with the tables now and then.

const (
	recountEvery = 10 * time.Minute
	// recountShare is how many times as long as a comparison there is none.
	recountShare = 100
	// recountSoon is the same where the numbers have been seen to be wrong.
	recountSoon = 10

	recountTime = 5 * time.Minute // that it may take
)

const (
	oneRecounts = "SELECT pg_try_advisory_xact_lock($1)"

	// All is from one snapshot. What is added by others meanwhile changes both sides by the same. It reads whole tables, and
	// keeps nobody waiting.
	recount = `INSERT INTO {s}.counts
		SELECT queue, state, sum(n) FROM (
			SELECT queue, state, count(*) AS n FROM {s}.tasks GROUP BY queue, state
			UNION ALL SELECT queue, status, count(*) FROM {s}.results GROUP BY queue, status
			UNION ALL SELECT queue, state, -sum(n) FROM {s}.counts GROUP BY queue, state) c
		GROUP BY queue, state HAVING sum(n) <> 0`
)

// wrong says that the numbers have been seen to be wrong.
func (m *maintainer) wrong() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recount = true
}

// heal corrects the numbers if it is time to, beside what else is to be done.
func (m *maintainer) heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := max(recountEvery, recountShare*m.took)
	if m.recount {
		rest = max(sweepEvery, recountSoon*m.took)
	}
	if m.healing || time.Since(m.counted) < rest {
		return
	}
	m.healing, m.recount = true, false
	m.b.running.Go(func() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(m.b.ctx, recountTime)
		err := m.b.correct(ctx)
		cancel()
		if err != nil && m.b.ctx.Err() == nil {
			m.b.config.logger.Warn("postgres: the statistics could not be compared with the tables", logkey.Error, err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.healing, m.counted, m.took = false, time.Now(), time.Since(began)
	})
}

// correct makes the numbers what they are. One process at a time does, in a snapshot of after the one before.
func (b *Backend) correct(ctx context.Context) error {
	hash := fnv.New64a()
	hash.Write([]byte("omniq counts " + b.config.schema))
	return b.transact(ctx, func(q querier) error {
		mine := false
		lock := stmt{sql: oneRecounts, args: []any{int64(hash.Sum64())}, row: func(row scanner) error { return row.Scan(&mine) }}
		scans := stmt{sql: "SET LOCAL enable_seqscan = on"}
		if err := q.run(ctx, lock, scans); err != nil || !mine {
			return err
		}
		return q.run(ctx, stmt{sql: b.sql.of(recount)})
	})
}
