package postgres

import (
	"context"

	"github.com/google/uuid"
)

// uniqueKey is the key of a task that no other of its name has at the same time.
type uniqueKey struct{ name, key string }

// claim is a task that wants its unique key.
type claim struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	Key  string    `json:"key"`
	Hold int64     `json:"hold"` // microseconds for which it holds the key; 0 until it is final
}

func claimOf(n *newTask) claim {
	return claim{n.id, n.unique.name, n.unique.key, microseconds(n.uniqueFor)}
}

const (
	claims = "json_to_recordset($1::text::json) AS i (id uuid, name text, key text, hold bigint)"

	// Gives the keys in wants to those who want them, and whose they are then stands in mine. A key that is held is not
	// touched; who is about to take or to release one is waited for. Both kinds are locked in the order of name and key,
	// those first whose time is over.
	claimKeys = `over AS MATERIALIZED (
		SELECT w.id, w.until, u.at FROM (SELECT * FROM wants ORDER BY name, key OFFSET 0) w
		CROSS JOIN LATERAL (SELECT ctid AS at FROM {s}.unique_keys u
			WHERE u.name = w.name AND u.key = w.key AND coalesce(u.until <= {now}, false) FOR UPDATE) u),
	inherited AS (
		UPDATE {s}.unique_keys u SET id = o.id, until = o.until FROM over o WHERE u.ctid = o.at RETURNING o.id),
	claimed AS (
		INSERT INTO {s}.unique_keys (name, key, id, until)
		SELECT name, key, id, until FROM wants w
		WHERE (SELECT count(*) FROM inherited) >= 0
			AND (SELECT true FROM {s}.unique_keys u WHERE u.name = w.name AND u.key = w.key) IS NULL
		ORDER BY name, key
		ON CONFLICT (name, key) DO NOTHING RETURNING id),
	mine AS MATERIALIZED (SELECT id FROM inherited UNION ALL SELECT id FROM claimed)`

	claimOnly = `WITH
	wants AS MATERIALIZED (
		SELECT id, name, key, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END AS until FROM ` + claims + `),
	` + claimKeys + `
	SELECT id::text FROM mine`

	// Who holds the keys, in the second of those who are not there. Where nobody does, the holder has gone meanwhile: in the
	// first, a division by zero undoes all, and it is done again.
	findHolders = "SELECT i.id::text, u.id::text, 1 / CASE WHEN u.id IS NULL THEN 0 ELSE 1 END FROM " + claims + joinHolders
	joinHolders = `
		LEFT JOIN LATERAL (SELECT u.id FROM {s}.unique_keys u WHERE u.name = i.name AND u.key = i.key OFFSET 0) u ON true`

	findHoldersOfNew = "SELECT i.id::text, u.id::text, 1 FROM " + claims + joinHolders + `
		WHERE (SELECT true FROM {s}.tasks t WHERE t.id = i.id) IS NULL
			AND (SELECT true FROM {s}.results r WHERE r.id = i.id AND (r.expires IS NULL OR r.expires > {now})) IS NULL`
)

// findHolders finds who holds the keys of tasks that were not stored.
func (e *enqueuing) findHolders(tasks []newTask) []stmt {
	var keyed []claim
	for i := range tasks {
		if tasks[i].unique.key != "" {
			keyed = append(keyed, claimOf(&tasks[i]))
		}
	}
	if len(keyed) == 0 {
		return nil
	}
	return []stmt{holders(e.b.sql.of(findHoldersOfNew), keyed, e.holders)}
}

// holders collects who holds keys, by the IDs of those who want them; nobody is [uuid.Nil].
func holders(sql string, list []claim, into map[uuid.UUID]uuid.UUID) stmt {
	return stmt{sql: sql, args: []any{jsonText(list)}, row: func(row scanner) error {
		var id string
		var holder *string
		var one int
		if err := row.Scan(&id, &holder, &one); err != nil {
			return err
		}
		into[uuid.MustParse(id)] = uuid.Nil
		if holder != nil {
			into[uuid.MustParse(id)] = uuid.MustParse(*holder)
		}
		return nil
	}}
}

// claim takes unique keys for tasks that are final, and returns the holders of those that others have.
func (b *Backend) claim(ctx context.Context, q querier, list []claim) (map[uuid.UUID]uuid.UUID, error) {
	if len(list) == 0 {
		return nil, nil
	}
	mine := make(map[uuid.UUID]bool, len(list))
	err := q.run(ctx, stmt{sql: b.sql.of(claimOnly), args: []any{jsonText(list)}, row: func(row scanner) error {
		var id string
		err := row.Scan(&id)
		if err == nil {
			mine[uuid.MustParse(id)] = true
		}
		return err
	}})
	if err != nil || len(mine) == len(list) {
		return nil, err
	}
	refused := make([]claim, 0, len(list))
	for _, c := range list {
		if !mine[c.ID] {
			refused = append(refused, c)
		}
	}
	found := make(map[uuid.UUID]uuid.UUID, len(refused))
	return found, q.run(ctx, holders(b.sql.of(findHolders), refused, found))
}
