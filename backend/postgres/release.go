package postgres

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// releaseFollowers closes the edges to tasks that this transaction has ended with success, as far as they are few and nobody
// else has locked the tasks that wait. For the others it adds work: who does that sees what this transaction and those who
// have the locks have closed. It is the last statement of its transaction and skips what is locked: nobody waits for who waits
// for this one. Its snapshot is later than the end of the tasks, so it sees the edges of all who have seen these running; who
// has not looks himself, see checkEdges.
const releaseFollowers = `WITH
	ended AS MATERIALIZED (
		SELECT r.id FROM unnest($1::uuid[]) AS i (id)
		CROSS JOIN LATERAL (SELECT r.id, r.followed, r.xmin FROM {s}.results r WHERE r.id = i.id OFFSET 0) r
		WHERE r.followed IS NOT NULL AND r.xmin = pg_current_xact_id()::xid),
	found AS MATERIALIZED (
		SELECT d.id AS dep, e.at, e.task, e.tie FROM ended d
		CROSS JOIN LATERAL (SELECT ctid AS at, task, tie FROM {s}.edges e WHERE e.dep = d.id AND e.met IS NULL OFFSET 0) e LIMIT $2 + 1),
	waiting AS MATERIALIZED (
		SELECT task, tie, array_agg(at) AS at FROM found WHERE (SELECT count(*) FROM found) <= $2 GROUP BY task, tie),
	locked AS MATERIALIZED (
		SELECT w.task, w.at FROM (SELECT * FROM waiting ORDER BY task OFFSET 0) w
		CROSS JOIN LATERAL (SELECT t.tie FROM {s}.tasks t WHERE t.id = w.task FOR UPDATE SKIP LOCKED) t WHERE t.tie = w.tie),
	untold AS MATERIALIZED (
		SELECT id FROM ended WHERE (SELECT count(*) FROM found) > $2 OR id IN (
			SELECT dep FROM found f WHERE (f.task IN (SELECT task FROM locked)) IS NOT TRUE AND (SELECT true FROM {s}.tasks t WHERE t.id = f.task))),
	added AS (INSERT INTO {s}.work (kind, ended, how, tie) SELECT 0, array_agg(id), array_agg(3), 0 FROM untold HAVING count(*) > 0),
	closed AS (
		UPDATE {s}.edges e SET met = true WHERE e.ctid = ANY (ARRAY (SELECT unnest(at) FROM locked)) AND e.met IS NULL RETURNING e.task),
	told AS MATERIALIZED (
		SELECT task AS id, count(*)::integer AS closed, true AS well, NULL::uuid AS unmet FROM closed GROUP BY task),
	` + releaseThen + `
	UNION ALL SELECT $3::uuid, NULL, '', 0, {now}, 0, NULL WHERE EXISTS (SELECT FROM untold)`

// release is what a settlement does for those that wait for tasks that it ends.
func (s *settling) release(endings []ending) []stmt {
	var ids list[pgtype.UUID]
	for i := range endings {
		if e := &endings[i]; e.tells() {
			ids = append(ids, uuidOf(e.id))
		}
	}
	if len(ids) == 0 || s.callers {
		return nil
	}
	return []stmt{{sql: s.b.sql.of(releaseFollowers), args: []any{ids, mostTold, uuidOf(uuid.Nil)}, row: func(row scanner) error {
		id, _, err := s.free.row(row)
		s.follows = s.follows || id == uuid.Nil
		return err
	}}}
}

// released are the tasks whose last edges a transaction has closed.
type released struct {
	b      *Backend
	queues map[string]bool // that have got tasks that are ready
	next   coming
}

// row reads a row of releaseThen: the task, and what it needs and has ended otherwise.
func (r *released) row(row scanner) (id uuid.UUID, unmet *string, err error) {
	var queue string
	var rank int64
	var due time.Time
	var state int16
	var soon *int64
	if err := row.Scan((*[16]byte)(&id), &unmet, &queue, &rank, &due, &state, &soon); err != nil {
		return id, nil, err
	}
	r.next.add(soon)
	if state == stateReady {
		r.b.floors.ready(queue, rank, due)
		if r.queues == nil {
			r.queues = make(map[string]bool)
		}
		r.queues[queue] = true
	}
	return id, unmet, nil
}

func (r *released) topics() []topic {
	topics := make([]topic, 0, len(r.queues))
	for q := range r.queues {
		topics = append(topics, queueTopic(q))
	}
	return topics
}

// announce tells those who wait for tasks.
func (r *released) announce() {
	if len(r.queues) > 0 {
		r.b.tell(r.topics()...)
	}
	r.next.poke(r.b.maintainer)
}
