package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// claim is a task that wants its unique key.
type claim struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	Key  string    `json:"key"`
	Hold int64     `json:"hold"` // microseconds for which it holds the key; 0 until it is final
}

const (
	claims = "json_to_recordset($1::text::json) AS i (id uuid, name text, key text, hold bigint)"

	takenIDs = "SELECT i.id::text FROM " + claims + ` WHERE EXISTS (SELECT FROM {s}.tasks t WHERE t.id = i.id)
		OR EXISTS (SELECT FROM {s}.results r WHERE r.id = i.id AND (r.expires IS NULL OR r.expires > {now}))`

	// A key that somebody else holds is locked nevertheless, so that its holder is there for the next statement.
	claimKeys = `INSERT INTO {s}.unique_keys AS u (name, key, id, until)
		SELECT name, key, id, CASE WHEN hold > 0 THEN {now} + hold * interval '1 microsecond' END FROM ` + claims + `
		ORDER BY name, key
		ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE u.until <= {now}
		RETURNING id::text`

	holders = "SELECT i.id::text, u.id::text FROM " + claims + " JOIN {s}.unique_keys u ON u.name = i.name AND u.key = i.key"

	releaseKeys = "DELETE FROM {s}.unique_keys u USING " + claims + " WHERE u.name = i.name AND u.key = i.key AND u.id = i.id"
)

func claimOf(n *newTask) claim { return claim{n.id, n.name, n.uniqueKey, microseconds(n.uniqueFor)} }

// hold gives tasks their unique keys, and returns those that can be stored. The others are reported.
func (e *enqueuing) hold(ctx context.Context, q querier, tasks []newTask) ([]newTask, error) {
	var keyed []claim
	for i := range tasks {
		if tasks[i].uniqueKey != "" {
			keyed = append(keyed, claimOf(&tasks[i]))
		}
	}
	if len(keyed) == 0 {
		return tasks, nil
	}
	taken := make(map[uuid.UUID]bool)
	err := q.run(ctx, stmt{sql: e.b.sql.of(takenIDs), args: []any{jsonText(keyed)}, row: func(row scanner) error {
		id, err := scanID(row)
		taken[id] = true
		return err
	}})
	if err != nil {
		return nil, err
	}
	free := keyed[:0]
	for _, c := range keyed {
		if !taken[c.ID] {
			free = append(free, c)
		}
	}
	holders, err := e.b.claim(ctx, q, free)
	if err != nil {
		return nil, err
	}
	stay := make([]newTask, 0, len(tasks))
	for _, t := range tasks {
		holder, held := holders[t.id]
		switch {
		case taken[t.id]:
			e.errs[t.place] = omniq.Duplicate{ID: t.id, Holder: t.id}
		case held:
			e.errs[t.place] = omniq.Duplicate{ID: t.id, Holder: holder}
		default:
			stay = append(stay, t)
		}
	}
	return stay, nil
}

// claim takes unique keys for tasks, and returns the holders of those that others have.
func (b *Backend) claim(ctx context.Context, q querier, list []claim) (map[uuid.UUID]uuid.UUID, error) {
	if len(list) == 0 {
		return nil, nil
	}
	left := make(map[uuid.UUID]claim, len(list))
	for _, c := range list {
		left[c.ID] = c
	}
	err := q.run(ctx, stmt{sql: b.sql.of(claimKeys), args: []any{jsonText(list)}, row: func(row scanner) error {
		id, err := scanID(row)
		delete(left, id)
		return err
	}})
	if err != nil || len(left) == 0 {
		return nil, err
	}
	refused := make([]claim, 0, len(left))
	for _, c := range left {
		refused = append(refused, c)
	}
	found := make(map[uuid.UUID]uuid.UUID, len(left))
	err = q.run(ctx, stmt{sql: b.sql.of(holders), args: []any{jsonText(refused)}, row: func(row scanner) error {
		var id, holder string
		if err := row.Scan(&id, &holder); err != nil {
			return err
		}
		found[uuid.MustParse(id)] = uuid.MustParse(holder)
		return nil
	}})
	return found, err
}

// release gives back the keys of tasks that were not stored after all: others came first with the same IDs.
func (e *enqueuing) release(ctx context.Context, q querier, tasks []newTask) error {
	var list []claim
	for i := range tasks {
		if t := &tasks[i]; t.uniqueKey != "" && e.errs[t.place] != nil {
			list = append(list, claimOf(t))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return q.run(ctx, stmt{sql: e.b.sql.of(releaseKeys), args: []any{jsonText(list)}})
}

// scanID reads a row that is one ID as a text.
func scanID(row scanner) (uuid.UUID, error) {
	var id string
	if err := row.Scan(&id); err != nil {
		return uuid.Nil, err
	}
	return uuid.Parse(id)
}
