package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/omniq-go/omniq"
)

// Awaits reports whether somebody waits for a result, and has seen that there is none yet.
func (b *Backend) Awaits() bool {
	ids, _ := b.awaited.Looked()
	return len(ids) > 0
}

// Listens reports whether somebody in this process waits for a worker's lost leases, events or tasks of a queue.
func (b *Backend) Listens() bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	return len(b.hub.waiting) > 0
}

// Closed reports whether Close has begun.
func (b *Backend) Closed() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

// Busy says what is still going on, or nothing, and forgets where leases look for tasks.
func (b *Backend) Busy() string {
	for name, pool := range map[string]*pgxpool.Pool{"shared": b.pool, "own": b.own} {
		if s := pool.Stat(); s.AcquiredConns()+s.ConstructingConns() > 0 {
			return fmt.Sprintf("%d connections of the %s pool are used, and %d are made", s.AcquiredConns(), name, s.ConstructingConns())
		}
	}
	b.floors.mu.Lock()
	defer b.floors.mu.Unlock()
	b.floors.of = nil
	b.limited.Clear()
	switch {
	case b.Listens():
		return "somebody waits for tasks, events or lost leases"
	case b.Awaits():
		return "somebody waits for a result"
	}
	return ""
}

// Describe says in which ways backends differ that are opened with options.
func Describe(opts ...Option) string {
	var c config
	for _, o := range opts {
		o(&c)
	}
	return fmt.Sprintf("%+v", c)
}

// Schema is the name of the schema.
func (b *Backend) Schema() string { return b.config.schema }

// WithSkew makes the database's clock seem ahead by a duration.
func WithSkew(d time.Duration) Option { return func(c *config) { c.skew = d } }

// Inputs reads the inputs of a task as a lease does, those of up to so many bytes, and reports whether some were left out.
func (b *Backend) Inputs(ctx context.Context, id uuid.UUID, most int64) (all []*omniq.RawResult, bytes int64, left bool, err error) {
	var tie int64
	if err := b.pool.QueryRow(ctx, "SELECT tie FROM "+b.config.schema+".tasks WHERE id = $1", id).Scan(&tie); err != nil {
		return nil, 0, false, err
	}
	given := make(map[int64]*given)
	err = b.loadInputs(ctx, given, list[int64]{tie}, list[bool]{false}, most)
	return given[tie].results(), given[tie].whole, given[tie].held, err
}

// Correct corrects the statistics.
func (b *Backend) Correct(ctx context.Context) error { return b.correct(ctx) }

// Planning is what a transaction begins with.
const Planning = planning

// Alone are the statements that are sent by themselves, and planned as the server does it by default.
func (b *Backend) Alone() map[string]string {
	return map[string]string{
		"lookUpTasks": b.sql.of(lookUpTasks), "inspectTask": b.sql.of(inspectTask), "cancelledOf": b.sql.of(cancelledOf),
		"unbegunLeases": b.sql.of(unbegunLeases),
	}
}

// Statements are those that look for single tasks, results and keys, as they are sent.
func (b *Backend) Statements() map[string]string {
	all := map[string]string{
		"insertTasks": insertTasks, "insertKeyed": insertKeyed, "insertTasksPlain": insertTasksPlain,
		"insertKeyedPlain": insertKeyedPlain, "claimOnly": claimOnly, "findHolders": findHolders,
		"findHoldersOfNew": findHoldersOfNew, "leaseTasks": leaseTasks, "leaseLimited": leaseLimited, "leaseLimit": leaseLimit, "leaseLanes": leaseLanes, "takeStirs": takeStirs,
		"reopenLanes": reopenLanes, "nextOpening": nextOpening, "bindLeases": bindLeases, "divideQueue": divideQueue, "setLimit": setLimit,
		"setLanes": setLanes, "sweepLanes": sweepLanes, "unboundQueues": unboundQueues, "uniteQueue": uniteQueue, "stirsOf": stirsOf, "firstStirred": firstStirred,
		"stirredQueues": stirredQueues,
		"holdLanes":     holdLanes, "lockQueue": lockQueue, "advanceTasks": advanceTasks, "wakeOne": wakeOne,
		"extendLeases": extendLeases, "startLeases": startLeases, "finishTasks": finishTasks, "giveBack": giveBack,
		"replaceResults": replaceResults, "dropResults": dropResults, "dropOverResults": dropOverResults,
		"insertResults": insertResults, "lookUpTasks": lookUpTasks, "lockTasksOf": lockTasksOf, "lockResults": lockResults,
		"knownTasks": knownTasks, "forgetResults": forgetResults, "inspectTask": inspectTask, "findWaited": findWaited,
		"sweepResults": sweepResults, "sweepKeys": sweepKeys, "findRubbish": findRubbish, "lockHeld": lockHeld,
		"insertTied": insertTied, "insertTiedPlain": insertTiedPlain, "insertTiedFree": insertTiedFree, "insertTiedPlainFree": insertTiedPlainFree, "knownFlows": knownFlows,
		"findDependencies": findDependencies, "insertEdges": insertEdges, "checkEdges": checkEdges, "openEdges": openEdges,
		"takeWork": takeWork, "findFollowers": findFollowers, "lockFollowers": lockFollowers, "lookAround": lookAround,
		"closeEdges": closeEdges, "releaseFollowers": releaseFollowers, "releaseNew": releaseNew, "markFollowed": markFollowed, "holdResults": holdResults,
		"envelopesOf": envelopesOf, "markBlocked": markBlocked, "untie": untie, "doneWork": doneWork, "laterWork": laterWork,
		"goOnWork": goOnWork, "addChecks": addChecks, "flowOf": flowOf, "passOn": passOn, "keepNotes": keepNotes,
		"readStream": readStream, "afterOf": afterOf, "loadInputs": loadInputs,
		"openMembers": openMembers, "countMembers": countMembers, "findBlocked": findBlocked,
		"edgesOf": edgesOf, "usersOf": usersOf, "reopenEdges": reopenEdges, "dropPassed": dropPassed, "dropItems": dropItems,
		"sweepLapsed": sweepLapsed, "lockFlows": lockFlows,
		"gatherTallies": gatherTallies, "sweepMinutes": sweepMinutes, "oldMinutes": oldMinutes, "beatWorker": beatWorker,
		"stopWorker": stopWorker, "sweepWorkers": sweepWorkers, "noteReplaced": noteReplaced,
		"overdue": overdue, "findWork": findWork, "newEvents": newEvents, "readEventsOf": readEventsOf, "oldestReady": oldestReady,
		"findReplaceable": findReplaceable, "lockHolders": lockHolders, "takeKeys": takeKeys, "lookAtHolders": lookAtHolders,
		"takenIDs": takenIDs, "stepAside": stepAside, "replaceTasks": replaceTasks,
		"assignKeys": assignKeys, "dropKeys": dropKeys, "findCircle": findCircle,
	}
	for _, name := range []string{
		"insertTasks", "insertKeyed", "insertTasksPlain", "insertKeyedPlain", "insertTied", "insertTiedPlain", "insertTiedFree", "insertTiedPlainFree",
	} {
		all[name+", laned"] = lanedOf[all[name]]
	}
	for _, newest := range []bool{false, true} {
		way := map[bool]string{true: ", newest"}[newest]
		for status, l := range listings {
			all["page of "+status.String()+way], all["end of "+status.String()+way] = l.page(newest), l.end(newest)
		}
		all["page of a flow"+way], all["end of a flow"+way] = pageOfMembers(newest), endOfMembers(newest)
	}
	for name, template := range all {
		all[name] = b.sql.of(template)
	}
	return all
}

// Sweep removes what is over, and gathers what is scattered, once.
func (b *Backend) Sweep(ctx context.Context) error {
	var r rubbish
	if err := b.search(ctx, r.find(b)); err != nil {
		return err
	}
	return b.sweep(ctx, r)
}

// HistoryLock is the advisory lock of the one who writes the history.
func (b *Backend) HistoryLock() int64 { return b.historyLock() }
