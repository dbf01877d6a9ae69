package postgres

import (
	"cmp"
	"context"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// OwnConnections is how many connections a backend has at the most, beside those of its pool and the one that listens:
// as many as the pool has unless its size is set.
func OwnConnections() int { return max(4, runtime.NumCPU()) }

// idleTime is how long a connection stays that nobody uses.
const idleTime = time.Minute

// parse reads a URL, or keywords and values.
func parse(url string) (*pgxpool.Config, error) {
	if err := check(url); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, invalid("cannot parse the URL, or the keywords and values: %s", reason(err))
	}
	const usual = 30 * time.Minute // of pgx
	if pc.MaxConnIdleTime == usual {
		pc.MaxConnIdleTime = idleTime
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "omniq"
	}
	utf8(pc)
	pc.PingTimeout = cmp.Or(pc.PingTimeout, patience/2) // of a connection that was idle
	return pc, nil
}

// utf8 has the server take and send texts as UTF-8, whatever encoding its database has: it refuses what that lacks.
func utf8(pc *pgxpool.Config) { pc.ConnConfig.RuntimeParams["client_encoding"] = "UTF8" }

// newOwn makes connections as a pool makes them, for nobody but the backend itself. The one that the maintainer uses at each
// pass stays, and is not asked before whether it is alive: a process that is idle would make its transactions twice.
func newOwn(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Pool, error) {
	pc := pool.Config()
	utf8(pc)
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = int32(OwnConnections()), 0, 0
	const between = 3 * sweepEvery // more than between two passes
	pc.MaxConnIdleTime = max(min(pc.MaxConnIdleTime, idleTime), between)
	if pc.ShouldPing == nil {
		pc.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > between }
	}
	pc.HealthCheckPeriod = min(pc.HealthCheckPeriod, idleTime/4)
	return pgxpool.NewWithConfig(ctx, pc)
}

// check refuses a URL whose user, password or database has an unescaped @ or /: pgx would take a part of a password for
// the name of a host or a database, and names are shown.
func check(url string) error {
	rest, isURL := strings.CutPrefix(url, "postgres://")
	if !isURL {
		rest, isURL = strings.CutPrefix(url, "postgresql://")
	}
	rest, _, _ = strings.Cut(rest, "?")
	if user := strings.IndexAny(rest, "@/"); isURL && user >= 0 && strings.Contains(rest[user+1:], "@") {
		return invalid("the URL has an @ after the host: in a user, a password or a database @ is written %%40, and / is %%2F")
	}
	return nil
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// reason is what pgx says is wrong with a URL, without anything of the URL itself: what cannot be read may be a password.
func reason(err error) string {
	text := err.Error()
	text = text[strings.LastIndex(text, "`: ")+1:]
	return quoted.ReplaceAllString(strings.TrimPrefix(text, ": "), `"…"`)
}
