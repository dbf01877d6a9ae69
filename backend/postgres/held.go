package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// heldWait is for how long what is done to leases waits for what another transaction has locked.
const heldWait = time.Second

// lockFree locks those of the tasks, and the keys that they release, which nobody else has locked.
const lockFree = `SELECT t.id FROM (SELECT id, name, unique_key FROM {s}.tasks WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED) t
	LEFT JOIN LATERAL (SELECT u.id FROM {s}.unique_keys u
		WHERE u.name = t.name AND u.key = t.unique_key AND u.id = t.id AND u.until IS NULL OFFSET 0) u ON true
	LEFT JOIN LATERAL (SELECT u.id FROM {s}.unique_keys u
		WHERE u.name = t.name AND u.key = t.unique_key AND u.id = t.id AND u.until IS NULL FOR UPDATE SKIP LOCKED) free ON true
	WHERE u.id IS NULL OR free.id IS NOT NULL`

// writeHeld does statements about leases, which are in the order of their IDs, in one transaction. It waits for those who
// have locked a row for heldWait at the most: then it leaves out the tasks that are locked, and returns them. Nobody's open
// transaction holds up the leases of others.
func (b *Backend) writeHeld(ctx context.Context, held []hold, stmts func([]hold) []stmt) (locked []hold, err error) {
	const tries = 5
	ctx = vital(ctx)
	for n := 1; n <= tries; n++ {
		if err := b.alive(ctx); err != nil {
			return nil, err
		}
		err = b.with(ctx, func(c *pgx.Conn) error {
			all := append(head(begin, heldWait), stmts(held)...)
			return uncertain(c, pipeline(ctx, c, append(all, stmt{sql: commit})))
		})
		switch code(err) {
		case lockNotAvailable:
			locked, err = b.writeFree(ctx, held, stmts)
			return locked, b.wrap(ctx, err)
		case deadlockDetected, serializationFailure:
			continue
		}
		break
	}
	return nil, b.wrap(ctx, err)
}

// writeFree does the statements about those leases whose tasks nobody has locked.
func (b *Backend) writeFree(ctx context.Context, held []hold, stmts func([]hold) []stmt) (locked []hold, err error) {
	err = b.with(ctx, func(c *pgx.Conn) error {
		q := transaction{c}
		ids, _ := holdsOf(held)
		free, there := make(map[[16]byte]bool), make(map[[16]byte]bool)
		into := func(set map[[16]byte]bool) func(scanner) error {
			return func(row scanner) error {
				var id [16]byte
				err := row.Scan(&id)
				set[id] = true
				return err
			}
		}
		err := q.run(ctx, append(head(begin, heldWait),
			stmt{sql: b.sql.of(lockFree), args: []any{ids}, row: into(free)},
			stmt{sql: b.sql.of(queuedOf), args: []any{ids}, row: into(there)})...)
		if err != nil {
			return err
		}
		var mine []hold
		for _, h := range held {
			if there[h.id] && !free[h.id] {
				locked = append(locked, h)
			} else {
				mine = append(mine, h)
			}
		}
		return uncertain(c, q.run(ctx, append(stmts(mine), stmt{sql: commit})...))
	})
	return locked, err
}

// lockedError is about a task whose row, or the key that it holds, is locked for longer than anybody waits.
func lockedError(h hold) error {
	return fmt.Errorf("postgres: another transaction has locked task %v, or its unique key, for more than %v", h.id, heldWait)
}
