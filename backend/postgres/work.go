package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

// What follows from a commit, and was not done in it, is done in transactions of its own, soon after it: the tasks that wait for one
// that has ended are told, some at a time. It stands in the table work until it is done, whoever does it.

// Kinds of work.
const (
	workEnded = 0 // tell those that wait for what has ended
	workCheck = 1 // look whether dep has ended, and tell task
	workUntie = 2 // remove what has a tie
)

// mostTold is how many edges a transaction closes at the most.
const mostTold = 500

// Rows that others have locked are skipped, here and below: nobody waits for this.
const (
	takeWork = `SELECT id, tries, kind, task, dep, coalesce(tie, 0), ended[:$2], how[:$2], coalesce(cardinality(ended), 0) FROM {s}.work
		WHERE at <= {now} ORDER BY at, id LIMIT $1 FOR UPDATE SKIP LOCKED`

	// Those that wait for tasks, in the order of the tasks and of their ties.
	findFollowers = `SELECT w.n, e.task, e.tie FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (dep, tie, n)
		CROSS JOIN LATERAL (SELECT e.task, e.tie FROM {s}.edges e WHERE e.dep = w.dep AND e.tie > w.tie AND e.met IS NULL
			ORDER BY e.tie LIMIT $3) e LIMIT $3`

	lockFollowers = `SELECT id, coalesce(tie, 0), state FROM {s}.tasks WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED`

	// What is known of tasks, in a later snapshot: whoever is not locked, and not there, has ended before that.
	lookAround = `SELECT id, 0, '', NULL FROM {s}.tasks WHERE id = ANY ($1)
		UNION ALL SELECT id, status, name, CASE WHEN status > 3 THEN result END FROM {s}.results WHERE id = ANY ($1)`

	closeEdges = `WITH
	closed AS (
		UPDATE {s}.edges e SET met = CASE WHEN e.need = 0 THEN i.status = 3 ELSE i.status > 0 OR NOT e.input END
		FROM unnest($1::bigint[], $2::uuid[], $3::smallint[]) AS i (tie, dep, status)
		WHERE e.dep = ANY (ARRAY[i.dep]) AND e.tie = ANY (ARRAY[i.tie]) AND e.met IS NULL
		RETURNING e.task, e.n, e.dep, e.met),
	told AS MATERIALIZED (
		SELECT task AS id, count(*)::integer AS closed, bool_and(met) AS well, (array_agg(dep ORDER BY n) FILTER (WHERE NOT met))[1] AS unmet
		FROM closed GROUP BY task),
	` + releaseThen

	// Tasks that are new, or locked, and whose edges are: told says how many of them were closed since they were counted.
	releaseNew = `WITH
	told AS MATERIALIZED (
		SELECT id, 0 AS closed, true AS well, NULL::uuid AS unmet FROM unnest($1::uuid[]) AS i (id)),
	` + releaseThen

	// A task whose last edge was closed is pending. It is due at its time, or its delay from now. What is asked of its row is asked
	// of t: so it is that of the row as it was locked, though an earlier snapshot may have another.
	releaseThen = `moved AS (
		UPDATE {s}.tasks t SET open = t.open - m.closed, (since, due, wake, state) = (
			SELECT CASE WHEN r.released THEN {now} ELSE t.since END, CASE WHEN r.released THEN d.due ELSE t.due END,
				CASE WHEN r.released AND d.due > {now} THEN d.due END,
				CASE WHEN NOT r.released THEN -1 WHEN d.due <= {now} AND NOT coalesce(t.deadline <= {now}, false) THEN 1 ELSE 0 END
			FROM (SELECT m.well AND t.open = m.closed AND t.manual IS NULL AS released) r
			CROSS JOIN (SELECT CASE WHEN t.resumed THEN {now} WHEN t.delay IS NULL THEN greatest(t.due, {now})
				ELSE {now} + t.delay * interval '1 microsecond' END AS due) d)
		FROM told m
		WHERE t.id = ANY (ARRAY[m.id]) AND t.state = -1
		RETURNING t.id, t.queue, t.rank, t.due, t.state, t.wake, t.deadline, m.unmet),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n
		FROM (SELECT queue, state, count(*) AS n FROM moved WHERE state >= 0 GROUP BY queue, state) m
		CROSS JOIN LATERAL (VALUES (-1, -m.n), (m.state, m.n)) c (state, n))
	SELECT id, unmet::text, queue, rank, greatest(due, '0001-01-01Z'::timestamptz), state, {soon} FROM moved`

	// What an edge leads to is told that it is followed, or kept for as long as it is needed. It is locked.
	markFollowed = `UPDATE {s}.tasks t SET followed = coalesce(t.followed, 0)::integer | e.bits
		FROM (SELECT e.dep, bit_or(CASE WHEN e.input THEN 3 ELSE 1 END) AS bits FROM unnest($1::bigint[], $2::uuid[]) AS i (tie, dep)
			CROSS JOIN LATERAL (SELECT e.dep, e.input FROM {s}.edges e WHERE e.dep = i.dep AND e.tie = i.tie OFFSET 0) e GROUP BY e.dep) e
		WHERE t.id = ANY (ARRAY[e.dep])`

	holdResults = `UPDATE {s}.results r SET followed = 3, lapses = r.expires, expires = NULL
		FROM (SELECT DISTINCT e.dep FROM unnest($1::bigint[], $2::uuid[]) AS i (tie, dep)
			CROSS JOIN LATERAL (SELECT e.dep FROM {s}.edges e WHERE e.dep = i.dep AND e.tie = i.tie AND e.input OFFSET 0) e ORDER BY 1 OFFSET 0) e
		WHERE r.id = ANY (ARRAY[e.dep]) AND r.expires IS NOT NULL`

	envelopesOf = "SELECT id, coalesce(token, 0), attempt, task, {now} FROM {s}.tasks WHERE id = ANY ($1)"
	markBlocked = "UPDATE {s}.results SET blocked = true WHERE id = ANY ($1)"

	untie = `WITH
		cut AS (DELETE FROM {s}.edges WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.edges WHERE tie = $1 LIMIT $2)) RETURNING n),
		dropped AS (DELETE FROM {s}.items WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.items WHERE tie = $1 LIMIT $2)) RETURNING n)
		SELECT (SELECT count(*) FROM cut) + (SELECT count(*) FROM dropped)`

	doneWork    = "DELETE FROM {s}.work WHERE id = ANY ($1)"
	laterWork   = "UPDATE {s}.work SET at = {now} + $2 * interval '1 microsecond', tries = least(tries, 100) + 1 WHERE id = ANY ($1)"
	goOnWork    = "UPDATE {s}.work SET ended = ended[$2:], how = how[$2:], tie = $3 WHERE id = $1"
	addChecks   = "INSERT INTO {s}.work (at, kind, task, dep, tie) SELECT {now} + $4 * interval '1 microsecond', 1, * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])"
	firstRetry  = 5 * time.Millisecond
	slowestWork = time.Second
)

// worker does the work of this process: one transaction at a time, so that those who end tasks at the same moment share it.
type worker struct {
	turn  chan struct{} // has one element while it works
	began time.Time     // of the last transaction that was done
	pace  pace
}

// job is a row of work.
type job struct {
	id, tie   int64
	tries     int
	kind      int16
	task, dep uuid.UUID
	ended     list[pgtype.UUID] // the first of them
	how       list[int16]
	all       int // of them
}

// pair is an edge that is to be looked at, and the job that it is for.
type pair struct {
	*job
	task, dep uuid.UUID
	tie       int64
	status    int16 // of dep; 0: to be found out
}

// follow does some of what follows from what has been committed, and leaves the rest to the maintainer, as it does with errors.
func (b *Backend) follow(ctx context.Context) {
	since := time.Now()
	select {
	case b.worker.turn <- struct{}{}:
	case <-ctx.Done():
		b.maintainer.poke(0)
		return
	}
	more := false
	if !b.worker.began.After(since) { // else others have, who began after the commit
		var err error
		more, err = b.work(ctx)
		more = more || err != nil
	}
	<-b.worker.turn
	if more {
		b.maintainer.poke(0)
	}
}

// workOn is follow for the maintainer.
func (b *Backend) workOn(ctx context.Context) (more bool, err error) {
	select {
	case b.worker.turn <- struct{}{}:
	case <-ctx.Done():
		return false, nil
	}
	defer func() { <-b.worker.turn }()
	return b.work(ctx)
}

// work does one transaction of work, and reports whether there is more that can be done now. It is the caller's turn.
func (b *Backend) work(ctx context.Context) (more bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	began, limit := time.Now(), min(b.worker.pace.rows(), mostTold)
	var r *working
	err = b.transact(ctx, func(q querier) error {
		r = &working{b: b, q: q, limit: limit, ready: released{b: b}}
		return r.run(ctx)
	})
	if err != nil {
		return false, err
	}
	b.worker.began = began
	if r.full {
		b.worker.pace.done(limit, time.Since(began))
	}
	r.announce()
	return r.full || r.follows, nil
}

// working is one transaction of work.
type working struct {
	b     *Backend
	q     querier
	limit int

	pairs   []pair
	done    list[int64]   // jobs
	later   list[int64]   // jobs that cannot be done now
	retry   time.Duration // of those
	skipped []pair        // of jobs that are done
	full    bool          // there may be more
	follows bool          // what it did has added work

	locked  map[uuid.UUID]int64 // ties of the tasks that are locked
	known   map[uuid.UUID]fate
	ready   released
	endings []ending
}

// fate is what is known of how a task has ended.
type fate struct {
	status int16 // 0: it is not final
	name   string
	result *string // of one without success
}

func (w *working) stmt(template string, row func(scanner) error, args ...any) stmt {
	return stmt{sql: w.b.sql.of(template), args: args, row: row}
}

func (w *working) run(ctx context.Context) error {
	some, err := w.take(ctx)
	if err != nil || !some {
		return err
	}
	if err := w.lock(ctx); err != nil {
		return err
	}
	if err := w.tell(ctx); err != nil {
		return err
	}
	return w.finish(ctx)
}

// take takes jobs, and what they are about.
func (w *working) take(ctx context.Context) (some bool, err error) {
	var jobs []job
	err = w.q.run(ctx, w.stmt(takeWork, func(row scanner) error {
		var j job
		var task, dep pgtype.UUID
		err := row.Scan(&j.id, &j.tries, &j.kind, &task, &dep, &j.tie, &j.ended, &j.how, &j.all)
		j.task, j.dep = task.Bytes, dep.Bytes
		jobs = append(jobs, j)
		return err
	}, w.limit, w.limit))
	if err != nil {
		return false, err
	}
	w.full = len(jobs) == w.limit
	var ended []*job
	for i := range jobs {
		switch j := &jobs[i]; j.kind {
		case workEnded:
			if j.all == 0 || len(j.how) != len(j.ended) { // it was written by hand
				w.done = append(w.done, j.id)
				continue
			}
			ended = append(ended, j)
		case workCheck:
			w.pairs = append(w.pairs, pair{j, j.task, j.dep, j.tie, 0})
		case workUntie:
			if err := w.untie(ctx, j); err != nil {
				return false, err
			}
		}
	}
	return len(jobs) > 0, w.expand(ctx, ended)
}

// untie removes some of what has a tie that nobody has any more.
func (w *working) untie(ctx context.Context, j *job) error {
	var n int
	err := w.q.run(ctx, w.stmt(untie, func(row scanner) error { return row.Scan(&n) }, j.tie, w.limit))
	if n == 0 {
		w.done = append(w.done, j.id)
	} else {
		w.full = true
	}
	return err
}

// expand finds those that wait for tasks that have ended, up to the limit.
func (w *working) expand(ctx context.Context, jobs []*job) error {
	room := w.limit - len(w.pairs)
	if len(jobs) == 0 {
		return nil
	}
	if room <= 0 {
		w.full = true
		return nil
	}
	type place struct {
		*job
		n int // in what has ended
	}
	var deps list[pgtype.UUID]
	var ties list[int64]
	var places []place
	for _, j := range jobs {
		for n, dep := range j.ended {
			if len(places) == room {
				w.full = true
				break
			}
			deps, ties, places = append(deps, dep), append(ties, 0), append(places, place{j, n})
			if n == 0 {
				ties[len(ties)-1] = j.tie
			}
		}
	}
	n, all := 0, len(places) // all those that follow these are found
	err := w.q.run(ctx, w.stmt(findFollowers, func(row scanner) error {
		var at int
		p := pair{}
		if err := row.Scan(&at, (*[16]byte)(&p.task), &p.tie); err != nil {
			return err
		}
		if n++; n > room {
			all = at - 1
			return nil
		}
		p.job = places[at-1].job
		p.dep, p.status = deps[at-1].Bytes, p.job.how[places[at-1].n]
		w.pairs = append(w.pairs, p)
		return nil
	}, deps, ties, room+1))
	if err != nil {
		return err
	}
	for _, p := range places[:all] {
		if p.n == p.all-1 {
			w.done = append(w.done, p.id)
		}
	}
	// Of the last one some may be left.
	var last place
	n, tie := 0, int64(0)
	switch {
	case all < len(places):
		last = places[all]
		n = last.n
		if p := w.pairs[len(w.pairs)-1]; p.dep == deps[all].Bytes {
			tie = p.tie
		} else if n == 0 {
			return nil
		}
	case places[all-1].n < places[all-1].all-1:
		last = places[all-1]
		n = last.n + 1
	default:
		return nil
	}
	w.full = true
	return w.q.run(ctx, w.stmt(goOnWork, nil, last.id, n+1, tie))
}

// lock locks the tasks at both ends of the edges, as far as nobody else has, and finds out about them.
func (w *working) lock(ctx context.Context) error {
	ids, all := make([]uuid.UUID, 0, len(w.pairs)), make([]uuid.UUID, 0, 2*len(w.pairs))
	for _, p := range w.pairs {
		ids, all = append(ids, p.task), append(all, p.task)
		if p.status == 0 {
			ids = append(ids, p.dep)
		}
		if p.status != int16(omniq.StatusSuccess) { // it may have been requeued
			all = append(all, p.dep)
		}
	}
	w.locked, w.known = make(map[uuid.UUID]int64), make(map[uuid.UUID]fate)
	if len(ids) == 0 {
		return nil
	}
	return w.q.run(ctx,
		w.stmt(lockFollowers, func(row scanner) error {
			var id uuid.UUID
			var tie int64
			var state int16
			err := row.Scan((*[16]byte)(&id), &tie, &state)
			w.locked[id] = tie
			return err
		}, sortedIDs(ids)),
		w.stmt(lookAround, func(row scanner) error {
			var id uuid.UUID
			var k fate
			err := row.Scan((*[16]byte)(&id), &k.status, &k.name, &k.result)
			if earlier, twice := w.known[id]; !twice || earlier.status != 0 {
				w.known[id] = k // one that is not final, and has a result of an earlier life, is not final
			}
			return err
		}, sortedIDs(all)))
}

// tell tells tasks of those that have ended.
func (w *working) tell(ctx context.Context) error {
	var ties, marks, holds list[int64]
	var deps, marked, held list[pgtype.UUID]
	var statuses list[int16]
	for _, p := range w.pairs {
		dep, there := w.known[p.dep]
		living := there && dep.status == 0 && p.status != int16(omniq.StatusSuccess)
		_, depLocked := w.locked[p.dep]
		tie, locked := w.locked[p.task]
		task, kept := w.known[p.task]
		switch {
		case living && p.kind == workEnded: // it was requeued
			continue
		case living && !depLocked, !locked && kept && task.status == 0:
			w.leave(p)
			continue
		case living:
			marks, marked = append(marks, p.tie), append(marked, uuidOf(p.dep))
			w.done = append(w.done, p.id)
			continue
		case p.kind == workCheck && there:
			holds, held = append(holds, p.tie), append(held, uuidOf(p.dep))
		}
		if p.kind == workCheck {
			w.done = append(w.done, p.id)
		}
		if !locked || tie != p.tie { // it has ended
			continue
		}
		if p.status == 0 {
			p.status = dep.status
		}
		ties, deps, statuses = append(ties, p.tie), append(deps, uuidOf(p.dep)), append(statuses, p.status)
	}
	var stmts []stmt
	if len(marks) > 0 {
		stmts = append(stmts, w.stmt(markFollowed, nil, marks, marked))
	}
	if len(holds) > 0 {
		stmts = append(stmts, w.stmt(holdResults, nil, holds, held))
	}
	unmet := make(map[uuid.UUID]uuid.UUID)
	if len(ties) > 0 {
		stmts = append(stmts, w.stmt(closeEdges, func(row scanner) error {
			id, dep, err := w.ready.row(row)
			if dep != nil {
				unmet[id] = uuid.MustParse(*dep)
			}
			return err
		}, ties, deps, statuses))
	}
	if len(stmts) == 0 {
		return nil
	}
	if err := w.q.run(ctx, stmts...); err != nil || len(unmet) == 0 {
		return err
	}
	return w.block(ctx, unmet)
}

// leave leaves an edge for later: one of its ends is locked by others. Its job is looked at again, which finds the edges that are
// still open, or an edge of a job that has more of them than this transaction tells becomes a job.
func (w *working) leave(p pair) {
	done := slices.Index(w.done, p.id)
	switch {
	case slices.Contains(w.later, p.id):
	case p.kind == workCheck:
		w.later = append(w.later, p.id)
	case done >= 0:
		w.done, w.later = slices.Delete(w.done, done, done+1), append(w.later, p.id)
	default:
		w.retry = max(w.retry, firstRetry)
		w.skipped = append(w.skipped, p)
		return
	}
	w.retry = max(w.retry, retryAfter(p.tries))
}

func retryAfter(tries int) time.Duration { return min(firstRetry<<min(tries, 10), slowestWork) }

// block ends tasks because of what they need, and has ended otherwise.
func (w *working) block(ctx context.Context, unmet map[uuid.UUID]uuid.UUID) error {
	ids := make([]uuid.UUID, 0, len(unmet))
	for id := range unmet {
		ids = append(ids, id)
	}
	err := w.q.run(ctx, w.stmt(envelopesOf, func(row scanner) error {
		var h hold
		var attempts int
		var envelope string
		var now time.Time
		if err := row.Scan((*[16]byte)(&h.id), &h.token, &attempts, &envelope, &now); err != nil {
			return err
		}
		dep := unmet[h.id]
		known := w.known[dep]
		result := omniq.DependencyResult(taskOf(h.id, envelope), now, attempts, known.name, resultOf(dep, known))
		text, err := encodeResult(result)
		w.endings = append(w.endings, ending{hold: h, result: result, envelope: text})
		return err
	}, sortedIDs(ids)))
	if err != nil {
		return err
	}
	finish, err := w.b.finish(w.endings, true, false, func(string) {}, func(_ hold, follows bool) { w.follows = w.follows || follows })
	if err != nil {
		return err
	}
	return w.q.run(ctx, w.stmt(replaceResults, nil, finish.args[0]), finish, w.stmt(markBlocked, nil, sortedIDs(ids)))
}

// resultOf is what is known of how a task ended.
func resultOf(id uuid.UUID, k fate) *omniq.RawResult {
	r := new(omniq.RawResult)
	if k.result == nil || decodeResult(id, *k.result, r) != nil {
		r = &omniq.RawResult{Status: omniq.Status(k.status)}
	}
	if k.status == 0 {
		r.Status, r.Error = omniq.StatusFailure, &omniq.TaskError{Message: "nothing is kept of it"}
	}
	r.TaskID = id
	return r
}

// finish removes the jobs that are done, and puts off those that could not be. That tasks are released need not survive a crash of
// the server: the jobs are there again then, and whoever has a lease of such a task finds it lost, as of any other.
func (w *working) finish(ctx context.Context) error {
	stmts := []stmt{w.stmt(doneWork, nil, w.done)}
	if len(w.endings) == 0 {
		stmts = append(stmts, stmt{sql: unflushed})
	}
	if len(w.later) > 0 {
		stmts = append(stmts, w.stmt(laterWork, nil, w.later, microseconds(w.retry)))
	}
	if len(w.skipped) > 0 {
		var tasks, deps list[pgtype.UUID]
		var ties list[int64]
		for _, p := range w.skipped {
			tasks, deps, ties = append(tasks, uuidOf(p.task)), append(deps, uuidOf(p.dep)), append(ties, p.tie)
		}
		stmts = append(stmts, w.stmt(addChecks, nil, tasks, deps, ties, microseconds(w.retry)))
	}
	return w.q.run(ctx, stmts...)
}

func (w *working) announce() {
	w.ready.announce()
	w.b.ended(w.endings)
	if w.retry > 0 {
		w.b.maintainer.poke(w.retry)
	}
}
