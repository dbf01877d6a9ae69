package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// afterOf finds what tasks wait for, or have waited for.
const afterOf = `SELECT e.task, e.dep, e.need, e.input FROM unnest($1::bigint[], $2::boolean[]) AS i (tie, passed)
	CROSS JOIN LATERAL (SELECT * FROM {s}.edges e WHERE e.tie = i.tie AND e.passed = i.passed ORDER BY e.n OFFSET 0) e`

// dependencies adds what tasks wait for to what is told of them.
func (b *Backend) dependencies(ctx context.Context, infos []info) error {
	var ties list[int64]
	var passed list[bool]
	of := make(map[uuid.UUID]*omniq.TaskInfo)
	for _, i := range infos {
		if i.tie != nil {
			ties, passed, of[i.ID] = append(ties, *i.tie), append(passed, i.resumed), i.TaskInfo
		}
	}
	if len(ties) == 0 {
		return nil
	}
	return b.search(ctx, stmt{sql: b.sql.of(afterOf), args: []any{ties, passed}, row: func(row scanner) error {
		var id uuid.UUID
		var d omniq.Dependency
		var need int16
		err := row.Scan((*[16]byte)(&id), (*[16]byte)(&d.ID), &need, &d.Input)
		d.Need = omniq.Need(need)
		if i := of[id]; i != nil {
			i.After = append(i.After, d)
		}
		return err
	}})
}
