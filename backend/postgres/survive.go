package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/omniq-go/omniq"
)

// What a commit waits for, by the settings of a session, and what the loss of power leaves whole. A commit waits for other
// machines if some are named; what they are and whether they run is theirs to tell.
const settings = `SELECT current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean,
	current_setting('synchronous_commit'), current_setting('synchronous_standby_names') <> ''`

// survives reads what acknowledged work survives.
func survives(ctx context.Context, pool *pgxpool.Pool) (omniq.Survival, error) {
	var flushed, standbys bool
	var commits string
	if err := pool.QueryRow(ctx, settings).Scan(&flushed, &commits, &standbys); err != nil {
		return omniq.SurvivesNothing, err
	}
	switch {
	case commits == "off": // the server says so before it has written anything
		return omniq.SurvivesProcess, nil
	case standbys && commits != "local": // whatever this machine loses
		return omniq.SurvivesMachine, nil
	case !flushed:
		return omniq.SurvivesServer, nil
	}
	return omniq.SurvivesPower, nil
}
