package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
)

var floorSQLite = floorSystem("1 connection, `_txlock=immediate`, 100 tasks a transaction", 1, openFloorSQLite)

// floorSQLiteSchema has one index beside the keys. A lease makes its tasks due again at its end, so that this index finds those that were
// not settled, too.
const floorSQLiteSchema = `
CREATE TABLE task (
	id       BLOB PRIMARY KEY,
	name     TEXT NOT NULL,
	args     TEXT NOT NULL,
	priority INTEGER NOT NULL,
	due      INTEGER NOT NULL,
	attempt  INTEGER NOT NULL DEFAULT 0, -- 0: it is pending, else it is running
	token    INTEGER
) WITHOUT ROWID;
CREATE INDEX task_order ON task (priority DESC, due);
CREATE TABLE result (id BLOB PRIMARY KEY, status INTEGER NOT NULL, data TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counts (state INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO counts VALUES (1, 0), (2, 0), (3, 0);`

type floorSQLiteStore struct {
	db                                  *sql.DB
	insert, pick, record, remove, count *sql.Stmt // insert is of rawBatch tasks
}

func openFloorSQLite(ctx context.Context, o opening) (floorStore, error) {
	db, err := openDatabase(ctx, o, 1, "_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, floorSQLiteSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &floorSQLiteStore{db: db}
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.insert, floorInsert(rawBatch)},
		{&s.pick, `UPDATE task SET attempt = attempt + 1, token = ?1, due = ?2
			WHERE id IN (SELECT id FROM task WHERE due <= ?3 ORDER BY priority DESC, due LIMIT ?4) RETURNING id, args, attempt`},
		{&s.record, "INSERT INTO result SELECT id, 3, 'null', ?3 FROM task" + floorLeased},
		{&s.remove, "DELETE FROM task" + floorLeased},
		{&s.count, "UPDATE counts SET n = n + CASE state WHEN ?1 THEN -?3 ELSE ?3 END WHERE state IN (?1, ?2)"},
	} {
		if *p.to, err = db.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return s, nil
}

// floorLeased is of tasks whose lease still holds.
const floorLeased = " WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND token = ?2 AND due > ?3"

// floorInsert stores n tasks, but for those whose ID there is.
func floorInsert(n int) string {
	values := strings.TrimSuffix(strings.Repeat("(?, 'noop', ?, ?, ?), ", n), ", ")
	return `INSERT INTO task (id, name, args, priority, due) SELECT * FROM (VALUES ` + values + `) AS new
		WHERE NOT EXISTS (SELECT 1 FROM result WHERE result.id = new.column1) ON CONFLICT DO NOTHING`
}

func (s *floorSQLiteStore) enqueue(ctx context.Context, tasks []handTask) (n int, err error) {
	values := make([]any, 0, 4*len(tasks))
	for i := range tasks {
		t := &tasks[i]
		values = append(values, t.id[:], t.args, t.priority, t.due.UnixMicro())
	}
	err = s.transact(ctx, func(tx *sql.Tx) error {
		var done sql.Result
		if len(tasks) == rawBatch {
			done, err = tx.StmtContext(ctx, s.insert).ExecContext(ctx, values...)
		} else {
			done, err = tx.ExecContext(ctx, floorInsert(len(tasks)), values...)
		}
		if err != nil {
			return err
		}
		n, err = s.move(ctx, tx, done, 0, handPending)
		return err
	})
	return n, err
}

func (s *floorSQLiteStore) lease(ctx context.Context, most int, lasts time.Duration) (l handLease, err error) {
	now := time.Now()
	l.token = rand.Int64()
	err = s.transact(ctx, func(tx *sql.Tx) (err error) {
		rows, err := tx.StmtContext(ctx, s.pick).QueryContext(ctx, l.token, now.Add(lasts).UnixMicro(), now.UnixMicro(), most)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		first := 0 // of those that were pending
		for rows.Next() {
			var id, args []byte
			var attempt int
			if err := rows.Scan(&id, &args, &attempt); err != nil {
				return err
			}
			l.ids, l.args = append(l.ids, uuid.UUID(id)), append(l.args, string(args))
			if attempt == 1 {
				first++
			}
		}
		if err := rows.Err(); err != nil || first == 0 {
			return err
		}
		_, err = tx.StmtContext(ctx, s.count).ExecContext(ctx, handPending, handRunning, first)
		return err
	})
	return l, err
}

func (s *floorSQLiteStore) settle(ctx context.Context, l handLease) (n int, err error) {
	ids := []byte{'['}
	for i := range l.ids {
		ids = append(ids, '"')
		ids = hex.AppendEncode(ids, l.ids[i][:])
		ids = append(ids, '"', ',')
	}
	ids[len(ids)-1] = ']'
	now := time.Now().UnixMicro()
	err = s.transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.StmtContext(ctx, s.record).ExecContext(ctx, string(ids), l.token, now); err != nil {
			return err
		}
		done, err := tx.StmtContext(ctx, s.remove).ExecContext(ctx, string(ids), l.token, now)
		if err != nil {
			return err
		}
		n, err = s.move(ctx, tx, done, handRunning, handDone)
		return err
	})
	return n, err
}

// move counts that so many tasks as a statement has changed have another state. From is 0 for none.
func (s *floorSQLiteStore) move(ctx context.Context, tx *sql.Tx, done sql.Result, from, to int) (int, error) {
	n, err := done.RowsAffected()
	if err == nil {
		_, err = tx.StmtContext(ctx, s.count).ExecContext(ctx, from, to, n)
	}
	return int(n), err
}

func (s *floorSQLiteStore) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *floorSQLiteStore) result(ctx context.Context, id uuid.UUID) (state int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT status FROM result WHERE id = ?1
		UNION ALL SELECT CASE attempt WHEN 0 THEN 1 ELSE 2 END FROM task WHERE id = ?1`, id[:]).Scan(&state)
	return state, err
}

func (s *floorSQLiteStore) counts(ctx context.Context) (counts map[int]int, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT state, n FROM counts")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = make(map[int]int)
	for rows.Next() {
		var state, n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[state] = n
	}
	return counts, rows.Err()
}

func (s *floorSQLiteStore) left(ctx context.Context) (int, error) {
	return count(ctx, s.db, "SELECT count(*) FROM task")
}

func (s *floorSQLiteStore) close() error { return s.db.Close() }
