package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver of all systems

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// quiet is the logger of all systems: what is no error would cost time, and hide errors.
var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

var sqliteEngine = engine{
	name: "sqlite",
	systems: []system{
		omniqSystem("defaults of `sqlite.Open` and `NewWorker`, a result of each task", openSQLite),
		backliteSystem(false),
		backliteSystem(true),
		goqiteSystem(goqitePoll),
		goqiteSystem(goqiteFastPoll),
		riverSystem(false),
		riverSystem(true),
		rawSystem,
		floorSQLite,
	},
	measurements: []measurement{enqueueOne, enqueueMany, burnDownAll, latencies},
	begin: func(_ context.Context, s settings) (heading, url string, end func() error, err error) {
		heading = "modernc.org/sqlite, journal_mode=WAL, synchronous=" + strings.ToUpper(s.synchronous)
		return heading, "", func() error { return nil }, nil
	},
	place: func(s settings, name string) string { return filepath.Join(s.dir, name+".db") },
}

func openSQLite(ctx context.Context, o opening) (omniq.Backend, func() error, error) {
	var options []sqlite.Option
	if o.synchronous == "normal" {
		options = append(options, sqlite.WithSynchronousNormal())
	}
	backend, err := sqlite.Open(o.place, options...)
	if err != nil {
		return nil, nil, err
	}
	if err := checkDatabase(ctx, backend.DB(), o.synchronous); err != nil {
		return nil, nil, errors.Join(err, backend.Close())
	}
	return backend, backend.Close, nil
}

// openDatabase opens a file in the way that is the same for all systems. Parameters are added to the data source name.
func openDatabase(ctx context.Context, o opening, connections int, parameters ...string) (*sql.DB, error) {
	parameters = append([]string{
		"_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(" + o.synchronous + ")",
		"_pragma=cache_size(-16000)", // as OmniQ has: SQLite's own 2 MB would be a handicap for the others
	}, parameters...)
	db, err := sql.Open("sqlite", "file:"+o.place+"?"+strings.Join(parameters, "&"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(max(connections, 64)) // connections are not opened again and again while time is taken
	if err := checkDatabase(ctx, db, o.synchronous); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkDatabase reads back what all systems must have in common.
func checkDatabase(ctx context.Context, db *sql.DB, synchronous string) error {
	var journal string
	var level int
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil {
		return err
	}
	if want := map[string]int{"normal": 1, "full": 2}[synchronous]; journal != "wal" || level != want {
		return fmt.Errorf("the database has journal_mode %s and synchronous %d, want wal and %d", journal, level, want)
	}
	return nil
}

// count returns the number that a query selects.
func count(ctx context.Context, db *sql.DB, query string) (n int, err error) {
	err = db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}
