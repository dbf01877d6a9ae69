package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	updateTasks = `UPDATE {s}.tasks t SET task = i.task FROM unnest($1::uuid[], $2::text[]) AS i (id, task)
		WHERE t.id = ANY (ARRAY[i.id])`
	updateResults = `UPDATE {s}.results r SET task = i.task FROM unnest($1::uuid[], $2::text[]) AS i (id, task)
		WHERE r.id = ANY (ARRAY[i.id])`
)

// Update gives tasks another payload: see [omniq.TaskQueue].
func (b *Backend) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	if err := engine.CheckUpdates(updates); err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(updates))
	for i := range updates {
		ids[i] = updates[i].ID
	}
	var errs []error
	var queues map[string]bool
	err := b.awake(ctx, func(q querier) (overdue []uuid.UUID, err error) {
		errs, queues = nil, make(map[string]bool)
		found, final, err := b.lockFinal(ctx, q, ids)
		if err != nil {
			return nil, err
		}
		for id, l := range found {
			if l.awake {
				overdue = append(overdue, id)
			}
		}
		if len(overdue) > 0 {
			return overdue, nil
		}
		var pending, ended updated
		var wait list[pgtype.UUID]
		for i := range updates {
			u, l := &updates[i], found[ids[i]]
			switch err := pending.add(&ended, u, l, final[u.ID]); {
			case err != nil:
				errs = engine.Report(errs, len(updates), i, err)
			case u.Due && l.state == stateScheduled:
				wait = append(wait, uuidOf(u.ID))
			}
		}
		stmts := append(pending.stmts(b.sql.of(updateTasks)), ended.stmts(b.sql.of(updateResults))...)
		if len(wait) > 0 {
			stmts = append(stmts, b.hasten(wait, queues))
		}
		return nil, q.run(ctx, stmts...)
	})
	if err == nil && len(queues) > 0 {
		b.tellQueues(queues)
	}
	return errs, err
}

// updated are the new envelopes of tasks.
type updated map[uuid.UUID]string

// add adds an update of a task that is living, or to those of dead ones.
func (p *updated) add(ended *updated, u *omniq.Update, l *living, d *dead) error {
	to, envelope := p, ""
	var final omniq.Status
	switch {
	case l != nil && statusOf(l.state) == u.Status:
		envelope = l.envelope
	case l == nil && d != nil:
		if final = d.status; final == u.Status {
			to, envelope = ended, text(d.envelope)
		}
	}
	if envelope == "" {
		return not("one that is "+u.Status.String(), l, final)
	}
	if earlier, again := (*to)[u.ID]; again {
		envelope = earlier
	}
	changed, err := engine.Updated([]byte(envelope), u)
	if err != nil {
		return err
	}
	if *to == nil {
		*to = make(updated)
	}
	(*to)[u.ID] = string(changed)
	return nil
}

func (p updated) stmts(sql string) []stmt {
	if len(p) == 0 {
		return nil
	}
	ids, envelopes := make(list[pgtype.UUID], 0, len(p)), make(list[string], 0, len(p))
	for id, envelope := range p {
		ids, envelopes = append(ids, uuidOf(id)), append(envelopes, envelope)
	}
	return []stmt{{sql: sql, args: []any{ids, envelopes}}}
}
