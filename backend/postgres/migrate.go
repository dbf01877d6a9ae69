package postgres

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/omniq-go/omniq"
)

//go:embed migrations/*.sql
var migrations embed.FS

// enqueueFunction is the function for plain SQL, of the newest version alone.
//
//go:embed enqueue.sql
var enqueueFunction string

// oldest is the first version of PostgreSQL that will do, as its server_version_num.
const oldest = 130000

// plainly lets the scripts mean what they say, whatever the database is set to: a backslash is one, waits have no bound, and
// a table is an ordinary one.
const plainly = `SELECT set_config('standard_conforming_strings', 'on', true), set_config('statement_timeout', '0', true),
	set_config('lock_timeout', '0', true), set_config('default_table_access_method', 'heap', true),
	set_config('check_function_bodies', 'on', true), set_config('idle_in_transaction_session_timeout', '0', true)`

// Migrate brings the schema that [WithSchema] names up to this version of the package, or creates it. [Open] and [New]
// do so, too, unless [WithoutMigration] is given. Several processes may do it at once: an advisory lock lets one do the
// work. What a newer version has migrated is an [ErrSchema]. While a newer version is rolled out, what is open goes on,
// unless the change log says otherwise.
//
// A user who only works with a schema needs USAGE on it, SELECT, INSERT, UPDATE and DELETE on its tables, and USAGE on its
// sequences.
func Migrate(ctx context.Context, pool *pgxpool.Pool, opts ...Option) error {
	c, err := newConfig(opts)
	if err != nil {
		return err
	}
	c.frozen = false
	return wrap(ctx, prepare(ctx, pool, &c))
}

// prepare checks the server and its schema, and migrates that unless it is frozen.
func prepare(ctx context.Context, pool *pgxpool.Pool, c *config) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var server, reads int
	const q = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery()::int"
	if err := pool.QueryRow(ctx, q).Scan(&server, &reads); err != nil {
		return err
	}
	if server < oldest || reads != 0 {
		return fmt.Errorf("the server is version %d, and can be written to: %t; want %d or later, and a primary",
			server/10000, reads == 0, oldest/10000)
	}
	found, err := version(ctx, pool, c, len(steps))
	switch {
	case err != nil || found == len(steps):
		return err
	case c.frozen:
		return &known{fmt.Errorf("%w %q has version %d, want %d: call Migrate with a user who may create tables",
			ErrSchema, c.schema, found, len(steps))}
	}
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, plainly); err != nil {
			return err
		}
		hash := fnv.New64a()
		hash.Write([]byte("omniq " + c.schema))
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(hash.Sum64())); err != nil {
			return err
		}
		found, err := version(ctx, tx, c, len(steps)) // another may have done it meanwhile
		if err != nil {
			return err
		}
		return migrate(ctx, tx, c, steps, found)
	})
}

// rows is a connection, a pool or a transaction, of which one row is asked for.
type rows interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// version is that of the schema, 0 without our tables. known is the newest that there is.
func version(ctx context.Context, q rows, c *config, newest int) (found int, err error) {
	exists, foreign := false, false
	// Not by to_regclass: that may know from before the lock that there is nothing.
	const tables = "SELECT count(*) > 0 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = "
	err = q.QueryRow(ctx, "SELECT ("+tables+"'migrations'), ("+tables+"'tasks')", c.schema).Scan(&exists, &foreign)
	switch {
	case err != nil:
		return 0, err
	case !exists && foreign:
		return 0, &known{fmt.Errorf("%w %q has a table tasks of another program: use WithSchema", ErrSchema, c.schema)}
	case !exists:
		return 0, nil
	}
	err = q.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+c.schema+".migrations").Scan(&found)
	if err != nil {
		return 0, err
	}
	if found > newest {
		return 0, &known{fmt.Errorf("%w %q has version %d, and this program knows up to %d: a newer one has upgraded it",
			ErrSchema, c.schema, found, newest)}
	}
	return found, nil
}

// migrate does the steps that are missing.
func migrate(ctx context.Context, tx pgx.Tx, c *config, steps []string, found int) error {
	scripts, err := missing(ctx, tx, c, steps, found)
	if err != nil {
		return err
	}
	for _, s := range scripts {
		if _, err := tx.Conn().PgConn().Exec(ctx, s.sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// script is one part of a migration.
type script struct{ name, sql string }

// missing are the scripts that make the newest version of the one that was found.
func missing(ctx context.Context, q rows, c *config, steps []string, found int) ([]script, error) {
	var scripts []script
	if found == 0 {
		const schemaExists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)"
		var exists bool // whoever may not create a schema can be given one
		if err := q.QueryRow(ctx, schemaExists, c.schema).Scan(&exists); err != nil {
			return nil, err
		}
		if !exists {
			scripts = append(scripts, script{"schema", "CREATE SCHEMA " + c.schema + ";"})
		}
		const table = ".migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());"
		scripts = append(scripts, script{"migrations", "CREATE TABLE " + c.schema + table})
	}
	for i, name := range steps {
		if i < found {
			continue
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts,
			script{name, strings.ReplaceAll(string(text), "{schema}", c.schema)},
			script{name, fmt.Sprintf("INSERT INTO %s.migrations (version) VALUES (%d);", c.schema, i+1)})
	}
	if len(scripts) > 0 {
		scripts = append(scripts, script{"enqueue.sql", strings.ReplaceAll(enqueueFunction, "{schema}", c.schema)})
	}
	return scripts, nil
}

// schemaAt tells which tables the database of a URL has.
func schemaAt(ctx context.Context, url string, _ omniq.Config) (s omniq.Schema, err error) {
	c, err := newConfig(nil)
	if err != nil {
		return s, err
	}
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return s, err
	}
	pc, err := parse(url)
	if err != nil {
		return s, err
	}
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // a pooler may stand before it
	db, err := pgx.ConnectConfig(ctx, pc.ConnConfig)
	if err != nil {
		return s, wrap(ctx, err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }() // it has only read
	found, err := version(ctx, db, &c, len(steps))
	if err != nil {
		return s, wrap(ctx, err)
	}
	s = omniq.Schema{Version: found, Newest: len(steps)}
	if found == len(steps) {
		return s, nil
	}
	scripts, err := missing(ctx, db, &c, steps, found)
	if err != nil {
		return s, wrap(ctx, err)
	}
	var text strings.Builder
	text.WriteString("BEGIN;\n" + strings.ReplaceAll(plainly, "\n\t", " ") + ";\n")
	for _, s := range scripts {
		text.WriteString(strings.TrimSpace(s.sql) + "\n")
	}
	text.WriteString("COMMIT;\n")
	s.SQL = text.String()
	return s, nil
}
