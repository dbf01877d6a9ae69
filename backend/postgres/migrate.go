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
)

//go:embed migrations/*.sql
var migrations embed.FS

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

// version is that of the schema, 0 without our tables. known is the newest that there is.
func version(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, c *config, newest int,
) (found int, err error) {
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
	if found == 0 {
		const schemaExists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)"
		var exists bool // whoever may not create a schema can be given one
		if err := tx.QueryRow(ctx, schemaExists, c.schema).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+c.schema); err != nil {
				return err
			}
		}
		const table = ".migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
		if _, err := tx.Exec(ctx, "CREATE TABLE "+c.schema+table); err != nil {
			return err
		}
	}
	for i, name := range steps {
		if i < found {
			continue
		}
		script, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		results := tx.Conn().PgConn().Exec(ctx, strings.ReplaceAll(string(script), "{schema}", c.schema))
		if _, err := results.ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+c.schema+".migrations (version) VALUES ($1)", i+1); err != nil {
			return err
		}
	}
	return nil
}
