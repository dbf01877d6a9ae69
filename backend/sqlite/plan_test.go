package sqlite_test

import (
	"context"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// exercise makes a backend prepare all its statements.
func exercise(t *testing.T, b *sqlite.Backend, clock *clock) {
	t.Helper()
	ctx := t.Context()
	hour, none := time.Hour, time.Duration(0)
	special := func(t *omniq.RawTask) {
		t.UniqueKey, t.UniqueFor, t.IDFor, t.TTL, t.ResultTTL, t.FailureTTL = uuid.NewString(), time.Minute, hour, &hour, &none, &none
	}
	lasting := func(n, ahead int, names ...string) []omniq.Lease {
		leases, err := b.Lease(ctx, omniq.LeaseRequest{
			Queues: []string{"q"}, Max: n, Ahead: ahead, Names: names, Duration: time.Minute, WorkerID: "w",
		})
		require.NoError(t, err)
		require.Len(t, leases, n)
		return leases
	}
	settled := func(l omniq.Lease, action omniq.Action, status omniq.Status) {
		s := finish(l, "1", hour)
		s.Action, s.Result.Status = action, status
		_, err := b.Settle(ctx, []omniq.Settlement{s})
		require.NoError(t, err)
	}
	for _, w := range []omniq.WorkerInfo{{ID: "w", Lease: time.Second}, {ID: "v"}} {
		require.NoError(t, b.Beat(ctx, w))
	}
	_, workersErr := b.Workers(ctx)
	require.NoError(t, workersErr)
	_, historyErr := b.History(ctx, time.Hour)
	require.NoError(t, historyErr)
	plain := func(*omniq.RawTask) {}
	enqueue(t, b, tasksIn("q", 40, special)...)
	enqueue(t, b, tasksIn("q", 40, plain)...)
	enqueue(t, b, tasksIn("q", 40, func(t *omniq.RawTask) { t.Delay = hour })...)
	leases := lasting(6, 3, "f")
	var held []omniq.LeaseID
	for _, l := range leases {
		held = append(held, l.LeaseID)
	}
	_, err := b.Start(ctx, held)
	require.NoError(t, err)
	_, err = b.Extend(ctx, append(held, omniq.LeaseID{TaskID: uuid.New(), Token: "1"}), time.Hour)
	require.NoError(t, err)
	settled(leases[0], omniq.ActionFinish, omniq.StatusSuccess)
	settled(leases[1], omniq.ActionFinish, omniq.StatusFailure)
	settled(leases[2], omniq.ActionRetry, 0)
	settled(leases[3], omniq.ActionDefer, 0)
	failed := lasting(1, 0)[0]
	settled(failed, omniq.ActionFinish, omniq.StatusFailure)
	for range 2 {
		_, err = b.Cancel(ctx, []uuid.UUID{leases[4].TaskID, failed.TaskID, uuid.New()})
		require.NoError(t, err)
	}
	_, err = b.Revoked(ctx, "w")
	require.NoError(t, err)
	_, err = b.Cancel(ctx, []uuid.UUID{leases[5].TaskID}) // nobody asks
	require.NoError(t, err)
	keyed := tasksIn("q", 1, func(t *omniq.RawTask) { t.UniqueKey, t.IDFor = "key", hour })[0]
	enqueue(t, b, keyed)
	_, err = b.Cancel(ctx, ids(keyed))
	require.NoError(t, err)
	update := omniq.Update{ID: keyed.ID, FuncName: keyed.FuncName, Status: omniq.StatusCancelled}
	_, err = b.Update(ctx, []omniq.Update{update})
	require.NoError(t, err)
	_, err = b.Requeue(ctx, ids(keyed), false)
	require.NoError(t, err)
	update.Status = omniq.StatusPending
	_, err = b.Update(ctx, []omniq.Update{update})
	require.NoError(t, err)
	scheduled := tasksIn("q", 1, func(t *omniq.RawTask) { t.Delay = hour })
	enqueue(t, b, scheduled...)
	_, err = b.RunNow(ctx, ids(scheduled...))
	require.NoError(t, err)
	_, err = b.Cancel(ctx, ids(scheduled...))
	require.NoError(t, err)
	_, err = b.Free(ctx, []omniq.UniqueKey{{FuncName: "f", Key: "key"}})
	require.NoError(t, err)
	_, err = b.Record(ctx, []*omniq.RawResult{{TaskID: uuid.New(), Status: omniq.StatusSuccess, Timestamp: time.Now(), ResultData: omniq.Raw("1")}})
	require.NoError(t, err)
	_, err = b.Forget(ctx, []uuid.UUID{leases[1].TaskID, failed.TaskID})
	require.NoError(t, err)
	for _, f := range []func() error{
		func() error { return b.Pause(ctx, "p") },
		func() error { _, err := b.Stats(ctx); return err },
		func() error { return b.Resume(ctx, "p") },
		func() error { _, err := b.Result(ctx, keyed.ID); return err },
		func() error { _, err := b.Inspect(ctx, keyed.ID); return err },
		func() error { _, _, err := b.Events(ctx, omniq.EventsRequest{Max: 1}); return err },
		func() error { _, _, err := b.Events(ctx, omniq.EventsRequest{Max: 1, Task: keyed.ID}); return err },
	} {
		require.NoError(t, f())
	}
	for _, status := range omniq.Statuses() {
		for _, queue := range []string{"", "q"} {
			for _, newest := range []bool{false, true} {
				_, _, err := b.List(ctx, omniq.ListRequest{Status: status, Queue: queue, Newest: newest, Max: 1})
				require.NoError(t, err)
				_, _, err = b.List(ctx, omniq.ListRequest{Status: status, Queue: queue, Newest: newest, Name: "f", Worker: "w", Contains: "x", Max: 1})
				require.NoError(t, err)
			}
		}
	}
	exerciseFlows(t, b)
	exerciseLanes(t, b)
	exerciseReplaces(t, b)
	b.Recount(t)

	// Others have changed something while calls wait here.
	other := open(t, b.Path())
	waiting := tasksIn("waited-for", 1, plain)[0]
	enqueue(t, b, waiting)
	l := leaseOf(t, b, "waited-for", 1)
	awaited := later(t, func(ctx context.Context) (*omniq.RawResult, error) { return b.Await(ctx, waiting.ID) })
	require.Eventually(t, func() bool { return b.Awaiting() == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, settle(t, other, finish(l[0], "1", hour)))
	<-awaited
	parked := later(t, func(ctx context.Context) ([]omniq.Lease, error) {
		return b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"parked"}, Max: 1, Duration: hour, Wait: time.Minute, WorkerID: "w"})
	})
	revoked := later(t, func(ctx context.Context) ([]omniq.LeaseID, error) { return b.Revoked(ctx, "w2") })
	require.Eventually(t, func() bool { return b.Parked(t) == 2 }, 10*time.Second, time.Millisecond)
	enqueue(t, other, tasksIn("parked", 1, plain)...)
	<-parked
	tasks := tasksIn("revoked", 1, plain)
	enqueue(t, other, tasks...)
	_, err = other.Lease(ctx, omniq.LeaseRequest{Queues: []string{"revoked"}, Max: 1, Duration: time.Minute, WorkerID: "w2"})
	require.NoError(t, err)
	_, err = other.Cancel(ctx, ids(tasks...))
	require.NoError(t, err)
	<-revoked

	clock.advance(2 * hour) // much happens by itself
	lasting(1, 0)
	require.Eventually(t, func() bool {
		return number(t, b, "SELECT (SELECT count(*) FROM omniq_unique) + (SELECT count(*) FROM omniq_lanes)") == 0
	}, 20*time.Second, 10*time.Millisecond)
	clock.advance(25 * hour) // and what was done is too old
	require.Eventually(t, func() bool {
		return number(t, b, "SELECT count(*) FROM omniq_history WHERE enqueued > 0") == 0 &&
			number(t, b, "SELECT count(*) FROM omniq_results WHERE expires < ?", clock.now().UnixMicro()) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// exerciseLanes makes a backend prepare its statements about limits and lanes.
func exerciseLanes(t *testing.T, b *sqlite.Backend) {
	t.Helper()
	ctx := t.Context()
	limit := omniq.Limit{Running: 100, Rate: omniq.Rate{Tasks: 10, Per: time.Hour, Burst: 10}, EachLane: omniq.LaneLimit{Running: 2, Rate: omniq.Rate{Tasks: 9, Per: time.Hour, Burst: 9}}}
	require.NoError(t, b.SetLimit(ctx, "laned", limit))
	enqueue(t, b, tasksIn("laned", 2, func(*omniq.RawTask) {})...)
	tasks := tasksIn("laned", 3, func(t *omniq.RawTask) { t.Lane, t.FailureTTL = "a", new(time.Minute) })
	enqueue(t, b, tasks...)
	for range 4 {
		leases, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"laned"}, Max: 1, Duration: time.Hour, WorkerID: "w"})
		require.NoError(t, err)
		for _, l := range leases {
			require.NoError(t, settle(t, b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: time.Minute}))
		}
	}
	_, err := b.Stats(ctx)
	require.NoError(t, err)
	require.NoError(t, b.SetLimit(ctx, "laned", omniq.Limit{}))
	_, err = b.Cancel(ctx, ids(tasks...))
	require.NoError(t, err)
	for _, status := range omniq.Statuses() {
		_, _, err := b.List(ctx, omniq.ListRequest{Status: status, Queue: "laned", Lane: "a", Max: 1})
		require.NoError(t, err)
	}
}

// exerciseReplaces makes a backend prepare its statements about tasks that take the places of others.
func exerciseReplaces(t *testing.T, b *sqlite.Backend) {
	t.Helper()
	ctx := t.Context()
	latest := func(on omniq.OnHeld) *omniq.RawTask {
		return tasksIn("latest", 1, func(t *omniq.RawTask) { t.UniqueKey, t.OnHeld, t.ReplaceWithin = "latest", on, time.Hour })[0]
	}
	for range 2 {
		_, err := b.Enqueue(ctx, []*omniq.RawTask{latest(omniq.HeldReplace)})
		require.NoError(t, err)
	}
	l := leaseOf(t, b, "latest", 1)[0]
	behind := latest(omniq.HeldBehind)
	_, err := b.Enqueue(ctx, []*omniq.RawTask{behind})
	require.NoError(t, err)
	require.ErrorIs(t, settle(t, b, omniq.Settlement{
		LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{After: []omniq.Dependency{{ID: behind.ID}}},
	}), omniq.ErrInvalid, "it waits for the other")
	_, err = b.Cancel(ctx, ids(l.Task, behind))
	require.NoError(t, err)
}

// exerciseFlows makes a backend prepare its statements about tasks that are tied to others.
func exerciseFlows(t *testing.T, b *sqlite.Backend) {
	t.Helper()
	ctx := t.Context()
	none, flow := time.Duration(0), uuid.New()
	member := func(t *omniq.RawTask) { t.Flow, t.ResultTTL, t.Delay = flow, &none, 0 }
	notes := omniq.Notes{Progress: omniq.Raw("{}"), State: omniq.Raw("{}"), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}}
	tasks := tasksIn("flow", 6, member)
	tasks[1].After, tasks[1].Delay = after(tasks[0]), time.Millisecond
	tasks[2].After, tasks[2].Manual = after(tasks[1]), true
	tasks[3].After = after(tasks[0])
	tasks[4].Manual = true
	tasks[5].After = []omniq.Dependency{{ID: tasks[4].ID, Need: omniq.NeedFinal}}
	enqueue(t, b, tasks...)
	resolved := &omniq.RawResult{TaskID: tasks[4].ID, Status: omniq.StatusFailure, Timestamp: time.Now()}
	_, err := b.Resolve(ctx, []*omniq.RawResult{resolved})
	require.NoError(t, err)
	l := leaseOf(t, b, "flow", 1)[0]
	_, err = b.Note(ctx, []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: notes}})
	require.NoError(t, err)
	_, err = b.Stream(ctx, omniq.StreamRequest{TaskID: l.TaskID, Name: "s", Max: 1})
	require.NoError(t, err)
	s := finish(l, "1", 0)
	child := tasksIn("flow", 1, member)[0]
	other := tasksIn("other", 1, member)[0]
	other.Flow = uuid.New()
	s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child, other}, Cancel: ids(other), Notes: notes}
	require.NoError(t, settle(t, b, s))
	l = leaseOf(t, b, "flow", 1)[0] // with an input
	later := tasksIn("flow", 2, member)
	for i, t := range later {
		t.Flow, t.After = uuid.Nil, []omniq.Dependency{{ID: tasks[0].ID, Input: i == 0}}
	}
	enqueue(t, b, later...)
	_, err = b.Enqueue(ctx, tasksIn("flow", 1, func(t *omniq.RawTask) { t.Flow, t.After = uuid.Nil, after(newTasks(1)...) }))
	require.ErrorIs(t, err, omniq.ErrNotFound)
	wait := omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{After: after(child)}}
	require.NoError(t, settle(t, b, wait))
	_, err = b.Cancel(ctx, ids(child))
	require.NoError(t, err)
	_, err = b.Requeue(ctx, []uuid.UUID{l.TaskID, tasks[5].ID}, true)
	require.NoError(t, err)
	_, err = b.Requeue(ctx, ids(child), true)
	require.NoError(t, err)
	_, err = b.Forget(ctx, ids(tasks[0]))
	require.NoError(t, err)
	for _, f := range []func() error{
		func() error { _, err := b.FlowStats(ctx, flow); return err },
		func() error { _, _, err := b.List(ctx, omniq.ListRequest{Flow: flow, Max: 10}); return err },
		func() error {
			_, _, err := b.List(ctx, omniq.ListRequest{Flow: flow, Queue: "q", Lane: "l", Name: "f", Worker: "w", Contains: "x", Newest: true, Max: 10})
			return err
		},
		func() error { _, err := b.CancelFlow(ctx, flow); return err },
		func() error { _, err := b.CancelFlow(ctx, flow); return err },
	} {
		require.NoError(t, f())
	}
	first := tasksIn("many", 1, func(*omniq.RawTask) {})[0]
	enqueue(t, b, append([]*omniq.RawTask{first}, following(100, first)...)...)
	_, err = b.Cancel(ctx, ids(first))
	require.NoError(t, err)
	whole(t, b)
	parts := tasksIn("chord", 3, func(*omniq.RawTask) {})
	body := following(1, parts...)[0]
	body.After[0].Input = false
	enqueue(t, b, append(parts, body)...)
	var ends []omniq.Settlement
	for _, l := range leaseOf(t, b, "chord", 2) {
		ends = append(ends, finish(l, "1", time.Hour))
	}
	_, err = b.Settle(ctx, ends)
	require.NoError(t, err)
	_, err = b.Cancel(ctx, ids(body))
	require.NoError(t, err)
	_, err = b.Requeue(ctx, ids(body), false)
	require.NoError(t, err)

	noted := tasksIn("noted", 3, func(*omniq.RawTask) {})
	noted[1].After, noted[2].After = after(noted[0]), []omniq.Dependency{{ID: first.ID}}
	enqueue(t, b, noted[:2]...)
	s.LeaseID, s.Action = leaseOf(t, b, "noted", 1)[0].LeaseID, omniq.ActionRelease
	s.Effects = &omniq.Effects{Notes: notes}
	require.NoError(t, settle(t, b, s))
	require.Len(t, leaseOf(t, b, "noted", 1), 1)
	_, err = b.Cancel(ctx, ids(noted[0]))
	require.NoError(t, err)
	enqueue(t, b, noted[2]) // after one that was cancelled
	_, err = b.Requeue(ctx, ids(noted[:2]...), true)
	require.NoError(t, err)
	_, err = b.Cancel(ctx, ids(noted[:2]...))
	require.NoError(t, err)
	_, err = b.Forget(ctx, ids(noted[1]))
	require.NoError(t, err)
	_, err = b.Forget(ctx, ids(noted[0]))
	require.NoError(t, err)
	plain := tasksIn("noted", 2, func(*omniq.RawTask) {})
	enqueue(t, b, plain...)
	held := leaseOf(t, b, "noted", 2)
	_, err = b.Note(ctx, []omniq.LeaseNotes{{LeaseID: held[0].LeaseID, Notes: notes}})
	require.NoError(t, err)
	_, err = b.Cancel(ctx, ids(plain...))
	require.NoError(t, err)
	enqueue(t, b, tasksIn("late", 1, func(t *omniq.RawTask) {
		t.After = []omniq.Dependency{{ID: held[1].TaskID, Need: omniq.NeedFinal}}
	})...)
	_, err = b.Requeue(ctx, []uuid.UUID{held[0].TaskID}, false)
	require.NoError(t, err)

	again := tasksIn("again", 1, func(*omniq.RawTask) {})[0]
	enqueue(t, b, again)
	_, err = b.Note(ctx, []omniq.LeaseNotes{{LeaseID: leaseOf(t, b, "again", 1)[0].LeaseID, Notes: notes}})
	require.NoError(t, err)
	_, err = b.Cancel(ctx, ids(again))
	require.NoError(t, err)
	_, err = b.Forget(ctx, ids(again))
	require.NoError(t, err)
	enqueue(t, b, again)

	// SQL may have written anything.
	manual := tasksIn("noted", 1, func(t *omniq.RawTask) { t.Manual = true })[0]
	enqueue(t, b, manual)
	_, err = b.DB().ExecContext(ctx, "UPDATE omniq_tasks SET wake = 1 WHERE id = ?", manual.ID[:])
	require.NoError(t, err)
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, manual.ID))
	var unneeded uuid.UUID
	for _, ended := range []bool{true, false} { // an input that is not needed any more, and one that is
		parts := tasksIn("parts", 2, func(t *omniq.RawTask) { t.ResultTTL = &none })
		parts[1].After = after(parts[0])
		enqueue(t, b, parts...)
		for _, l := range leaseOf(t, b, "parts", 1) {
			require.NoError(t, settle(t, b, finish(l, "1", 0)))
		}
		if ended {
			require.NoError(t, settle(t, b, finish(leaseOf(t, b, "parts", 1)[0], "1", 0)))
			unneeded = parts[0].ID
		}
	}
	require.Eventually(t, func() bool {
		return number(t, b, "SELECT count(*) FROM omniq_results WHERE id = ? AND look IS NOT NULL", unneeded[:]) == 0 &&
			number(t, b, "SELECT count(*) FROM omniq_results WHERE look <= until AND until < unixepoch() * 1000000") == 0
	}, 20*time.Second, 10*time.Millisecond)
}

var rowsPlanned = flag.Int("planned", 10_000, "how many tasks and results the larger file of TestPlans has")

var statement = regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|WITH)\s\S+\s`)

// literals are the statements in the package's source, or the first parts of those that are put together.
func literals(t *testing.T) (found []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range files {
		name := f.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == "schema.go" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				if statement.MatchString(text) {
					found = append(found, text)
				}
			}
			return true
		})
	}
	return found
}

// planOf is how SQLite does a statement.
func planOf(t *testing.T, b *sqlite.Backend, query string) []string {
	t.Helper()
	rows, err := b.DB().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, 1024)...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		plan = append(plan, detail)
	}
	require.NoError(t, rows.Err())
	return plan
}

// What a statement does to find its rows does not depend on how many there are, nor on what SQLite knows about that, and
// none reads a whole table or sorts it.
func TestPlans(t *testing.T) {
	b, clock := slow(t, sqlite.WithEvents(time.Hour))
	exercise(t, b, clock)
	var statements []string
	for _, q := range b.Statements(t) {
		if statement.MatchString(q) && !strings.Contains(q, "omniq_schema") {
			statements = append(statements, q)
		}
	}
	for _, text := range literals(t) {
		assert.True(t, slices.ContainsFunc(statements, func(q string) bool { return strings.Contains(q, text) }),
			"a statement that the test does not know:\n%s", text)
	}

	size := *rowsPlanned
	small, large := open(t, place(t)), open(t, place(t))
	mix(t, small, 40)
	mix(t, large, size)
	analyze := func(b *sqlite.Backend) {
		_, err := b.DB().ExecContext(t.Context(), "ANALYZE")
		require.NoError(t, err)
	}
	plans := make(map[string][]string)
	check := func(name string, b *sqlite.Backend) {
		for _, q := range statements {
			plan := planOf(t, b, q)
			if plans[q] == nil {
				plans[q] = plan
				checkPlan(t, q, plan)
			}
			assert.Equal(t, plans[q], plan, "%s: another plan of\n%s", name, q)
		}
	}
	check("few", small)
	check("many", large)
	analyze(small)
	analyze(large)
	check("few that are known", small)
	check("many that are known", large)
	fill(t, small, "scheduled", 1_000_000, size/2, time.Now().Add(time.Hour))
	fill(t, small, "ready", 2_000_000, size/2, time.Now().Add(time.Hour))
	fill(t, small, "results", 3_000_000, size/2, time.Now().Add(time.Hour))
	check("many, of which few are known", small)
	for _, table := range []string{"omniq_tasks", "omniq_results", "omniq_unique", "omniq_events"} {
		_, err := large.DB().ExecContext(t.Context(), "DELETE FROM "+table)
		require.NoError(t, err)
	}
	check("none, of which many are known", large)
}

// sorts are the statements that may sort or group what they have found: the running tasks, or a bounded number.
var sorts = regexp.MustCompile(`INDEXED BY omniq_tasks_(running|waiting) WHERE state = [27] GROUP BY|-count\(\*\) FROM`)

// walks are the statements that may go through an index: to its first row, or to count.
var walks = regexp.MustCompile(`ORDER BY wake LIMIT 1$|GROUP BY queue|ORDER BY seq (DESC )?LIMIT (1|\?2)|WHERE latest`)

func checkPlan(t *testing.T, q string, plan []string) {
	t.Helper()
	all := strings.Join(plan, "\n")
	for _, line := range plan {
		if strings.Contains(line, "TEMP B-TREE") {
			assert.Regexp(t, sorts, q, all)
		}
		table, ok := strings.CutPrefix(line, "SCAN ")
		if ok && strings.HasPrefix(table, "omniq_") && !regexp.MustCompile(`^omniq_(counts|paused|counted|limits|laned|lanes|workers)\b`).MatchString(table) {
			assert.Regexp(t, walks, q, all)
		}
	}
	if regexp.MustCompile(`\bid = \?`).MatchString(q) {
		assert.Regexp(t, `_id \(id=\?( AND kind=\?)?\)|omniq_unique|omniq_revoked|omniq_workers USING PRIMARY KEY|omniq_items_stream \(id=\?`, all, q)
	}
}
