package postgres

import "time"

// findWaited finds for whom there is something of those who wait in this process for tasks of a queue, or for leases that
// are lost. It is for what no other process has told of.
const findWaited = `SELECT 'q', q FROM unnest($1::text[]) AS q
		WHERE NOT EXISTS (SELECT FROM {s}.paused p WHERE p.queue = q)
			AND ((SELECT true FROM {s}.tasks t WHERE t.queue = q AND t.state = 1 AND t.lane IS NULL AND coalesce(t.deadline > {now}, true) LIMIT 1)
				OR (SELECT true FROM {s}.tasks t WHERE t.queue = q AND t.state = 1 AND t.lane IS NOT NULL LIMIT 1))
	UNION ALL
	SELECT 'w', w FROM unnest($2::text[]) AS w WHERE (SELECT true FROM {s}.revoked r WHERE r.worker = w LIMIT 1)`

// look returns the statement that wakes those who wait, if it is time to ask: all who wait share one, so that a process
// that has nothing to do makes one transaction in the poll interval.
func (m *maintainer) look() []stmt {
	queues, workers := m.b.hub.watched()
	if time.Now().Before(m.looks) || len(queues)+len(workers) == 0 {
		return nil
	}
	m.looks = time.Now().Add(m.b.config.poll)
	return []stmt{{sql: m.b.sql.of(findWaited), args: []any{queues, workers}, row: func(row scanner) error {
		var kind, name string
		err := row.Scan(&kind, &name)
		if err == nil {
			m.b.hub.wake(topicOf(kind[0], name))
		}
		return err
	}}}
}
