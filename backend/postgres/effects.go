package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

const (
	flowOf = `SELECT id, flow::text, CASE WHEN bound IS NOT NULL THEN queue END FROM {s}.tasks t WHERE t.id = ANY ($1::uuid[])`

	// A task that waits for others from now on. It is locked.
	passOn = `WITH
	passed AS (
		UPDATE {s}.tasks t SET token = NULL, attempt = t.attempt - t.started::integer, started = false, deadline = NULL, state = -1,
			wake = NULL, since = {now}, due = {now}, delay = NULL, shunned = NULL, resumed = true, open = 0, tie = coalesce(t.tie, t.seq)
		WHERE t.id = ANY ($1::uuid[]) RETURNING t.queue, t.tie),
	cut AS (DELETE FROM {s}.edges e USING passed p WHERE e.tie = p.tie AND e.passed)
	INSERT INTO {s}.counts SELECT queue, c.state, c.n FROM passed CROSS JOIN LATERAL (VALUES (2, -1), (-1, 1)) c (state, n)`

	// Those of tasks that wait for another one.
	findCircle = `SELECT id, 1 FROM unnest($1::uuid[]) AS i (id)
		CROSS JOIN LATERAL (SELECT t.tie, t.resumed FROM {s}.tasks t WHERE t.id = i.id AND t.state = -1 OFFSET 0) t
		WHERE (SELECT true FROM {s}.edges e
			WHERE e.dep = $2::text::uuid AND e.tie = t.tie AND e.passed = (t.resumed IS TRUE) AND e.met IS NULL LIMIT 1)`
)

// effected is a settlement with effects. Each is done in a transaction of its own, or in a savepoint of the caller's.
type effected struct {
	hold
	from *omniq.Settlement
	end  *ending // with omniq.ActionFinish
	back *back   // unless it finishes or waits
}

// effecting is what a transaction does of one.
type effecting struct {
	b     *Backend
	q     querier // and for those that store tasks:
	store querier
	plain bool

	lost    bool // the lease is
	endings []ending
	topics  []topic
	queues  map[string]bool
	next    coming
	notes   bool // there are new items in its streams
	follows bool // there is work
}

// effect does one settlement. A known error says that its effects cannot be.
func (x *effecting) effect(ctx context.Context, e *effected) error {
	effects := e.from.Effects
	call, err := x.b.newEnqueuing(effects.Enqueue)
	if err != nil {
		return &known{err}
	}
	call.plain, call.tied = x.plain, true
	x.queues = make(map[string]bool)
	grows := uuid.Nil
	err = x.q.run(ctx, x.stmt(flowOf, func(row scanner) error {
		var id uuid.UUID
		var flow, bound *string
		err := row.Scan((*[16]byte)(&id), &flow, &bound)
		if bound != nil {
			x.queues[*bound] = true // its limit may permit more
		}
		if err == nil && flow != nil {
			grows, err = uuid.Parse(*flow)
		}
		return err
	}, list[pgtype.UUID]{uuidOf(e.id)}))
	if err != nil {
		return err
	}
	t := newTying(x.b, x.q)
	t.store = x.store
	if t.flows, err = t.lockFlows(ctx, call.tasks, grows); err != nil {
		return err
	}
	o := x.b.newOvertaking(x.q)
	holders, err := o.find(ctx, call.tasks)
	if err != nil {
		return err
	}
	found, _, err := x.b.lock(ctx, x.q, slices.Concat([]uuid.UUID{e.id}, effects.Cancel, holders))
	if err != nil {
		return err
	}
	if l := found[e.id]; l == nil || l.state != stateRunning || l.token != e.token || l.awake {
		x.lost = true
		return nil
	}
	o.locked = found
	if err := x.lockKeys(ctx, e, call, t, o); err != nil {
		return err
	}
	if err := x.conclude(ctx, e); err != nil {
		return err
	}
	if e.from.Action == omniq.ActionFinish {
		t.ended = list[pgtype.UUID]{uuidOf(e.id)}
	}
	t.others = effects.After
	if err := call.tie(ctx, t, grows); err != nil {
		return err
	}
	if e.from.Action == omniq.ActionWait {
		if err := x.wait(ctx, t, e); err != nil {
			return err
		}
	}
	for q := range call.queues {
		x.queues[q] = true
	}
	for q := range t.ready.queues {
		x.queues[q] = true
	}
	for _, c := range []coming{call.next, t.ready.next} {
		if c.some {
			x.next.add(&c.in)
		}
	}
	x.follows = x.follows || t.checks
	// One that was not there when all were locked, and is now, was requeued meanwhile: to lock it now could be against the order.
	return x.cancel(ctx, slices.DeleteFunc(slices.Clone(effects.Cancel), func(id uuid.UUID) bool {
		i := slices.IndexFunc(effects.Enqueue, func(t *omniq.RawTask) bool { return t.ID == id })
		stored := i >= 0 && (call.errs == nil || call.errs[i] == nil)
		return found[id] == nil && !stored
	}))
}

// lockKeys locks the keys of the tasks that end with those that the new tasks want, where several statements would do so: all lock
// them in one order.
func (x *effecting) lockKeys(ctx context.Context, e *effected, call *enqueuing, t *tying, o *overtaking) error {
	ends := slices.Clone(e.from.Effects.Cancel)
	if e.end != nil {
		ends = append(ends, e.id)
	}
	if len(o.keys) == 0 && len(ends) < 2 {
		return nil
	}
	keys := keysOf(o.locked, ends)
	if !call.overtakes && (len(keys) == 0 || len(keys)+len(o.keys) == 1) {
		return nil
	}
	call.overtakes, call.brought = true, call.tasks
	t.overtaking = o
	return x.q.run(ctx, o.take(keys)...)
}

func (x *effecting) stmt(template string, row func(scanner) error, args ...any) stmt {
	return stmt{sql: x.b.sql.of(template), args: args, row: row}
}

// conclude keeps the notes and ends the lease, unless the task is to wait.
func (x *effecting) conclude(ctx context.Context, e *effected) error {
	var stmts []stmt
	if e.from.Hold > 0 {
		s, _ := x.b.holds(map[hold]time.Duration{e.hold: e.from.Hold})
		stmts = append(stmts, s)
	}
	if notes := &e.from.Effects.Notes; !notes.Empty() {
		merged := mergeNotes([]hold{e.hold}, map[hold]*omniq.Notes{e.hold: notes})
		one := x.stmt(keepNotes, func(row scanner) error {
			var h hold
			return row.Scan((*[16]byte)(&h.id), &h.token)
		}, merged.args()...)
		stmts = append(stmts, one)
		x.notes = len(notes.Stream) > 0
	}
	if events := e.from.Effects.Events; len(events) > 0 && x.b.config.retention > 0 {
		s, err := x.b.appending(events)
		if err != nil {
			return &known{err}
		}
		stmts = append(stmts, s)
	}
	switch {
	case e.end != nil:
		finish, err := x.b.finish([]ending{*e.end}, true, false, func(q string) { x.queues[q] = true }, func(_ hold, follows bool) { x.follows = x.follows || follows })
		if err != nil {
			return err
		}
		stmts = append(stmts, x.stmt(replaceResults, nil, finish.args[0]), finish)
		x.endings = append(x.endings, *e.end)
	case e.back != nil:
		s := settling{b: x.b, done: make(map[hold]bool), ready: x.queues}
		stmts = append(stmts, s.giveBack([]back{*e.back}))
		if err := x.q.run(ctx, stmts...); err != nil {
			return err
		}
		x.next = s.next
		return nil
	}
	if len(stmts) == 0 {
		return nil
	}
	return x.q.run(ctx, stmts...)
}

// wait lets the task wait for what it has passed its result on to.
func (x *effecting) wait(ctx context.Context, t *tying, e *effected) error {
	t.edges, t.opens = nil, map[uuid.UUID]int{e.id: 0}
	t.add(e.id, e.from.Effects.After)
	var deps list[pgtype.UUID]
	for i := range t.edges {
		deps = append(deps, uuidOf(t.edges[i].dep))
	}
	circle := uuid.Nil
	err := x.q.run(ctx, x.stmt(passOn, nil, list[pgtype.UUID]{uuidOf(e.id)}), x.stmt(findCircle, func(row scanner) error {
		var one int
		return row.Scan((*[16]byte)(&circle), &one)
	}, deps, uuidOf(e.id).String()))
	switch {
	case err != nil:
		return err
	case circle != uuid.Nil:
		return &known{fmt.Errorf("task %v is to wait for task %v, which waits for it", e.id, circle)}
	}
	return t.join(ctx, true)
}

// cancel cancels other tasks, those that are there now.
func (x *effecting) cancel(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	c := &cancelling{b: x.b}
	if err := c.cancel(ctx, x.q, ids); err != nil {
		return err
	}
	x.endings, x.topics, x.follows = append(x.endings, c.endings...), c.topics(), x.follows || c.follows
	return nil
}

// allTopics are what there is to tell, but for the ends of tasks.
func (x *effecting) allTopics(id uuid.UUID) []topic {
	topics := x.topics
	for q := range x.queues {
		topics = append(topics, queueTopic(q))
	}
	if x.notes {
		topics = append(topics, streamTopic(id))
	}
	if x.b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	return topics
}

// runEffects does the settlements with effects, and takes note of what became of each. With an error it has done nothing.
func (s *settling) runEffects(ctx context.Context) error {
	for i := range s.effects {
		e := &s.effects[i]
		x, err := s.b.effectOf(ctx, e)
		var ours *known
		switch {
		case errors.As(err, &ours) && !errors.Is(err, omniq.ErrClosed), refusal(err):
			s.refused[e.hold] = err
		case code(err) == lockNotAvailable:
			s.locked[e.hold] = true
		case err != nil && s.nothing():
			return s.b.wrap(ctx, err)
		case err != nil:
			s.failed[e.hold] = s.b.wrap(ctx, err)
		case !x.lost:
			s.done[e.hold] = true
			s.follows = s.follows || x.follows
			s.b.ended(x.endings)
			s.b.tell(x.allTopics(e.id)...)
			x.next.poke(s.b.maintainer)
		}
	}
	return nil
}

// nothing reports whether no settlement is done.
func (s *settling) nothing() bool {
	for _, done := range s.done {
		if done {
			return false
		}
	}
	return true
}

// effectOf does one settlement in a transaction.
func (b *Backend) effectOf(ctx context.Context, e *effected) (x *effecting, err error) {
	ctx = vital(ctx)
	for n := 1; ; n++ {
		if err := b.alive(ctx); err != nil {
			return nil, &known{err}
		}
		err = b.with(ctx, func(c *pgx.Conn) error {
			q := transaction{c}
			x = &effecting{b: b, q: q, store: q}
			if err := q.run(ctx, head(begin, heldWait)...); err != nil {
				return err
			}
			if err := x.effect(ctx, e); err != nil || x.lost {
				return err
			}
			return uncertain(c, q.run(ctx, stmt{sql: commit}))
		})
		if errors.Is(err, errMoved) {
			n = 0
			continue
		}
		if c := code(err); n == tries || c != deadlockDetected && c != serializationFailure && c != divisionByZero {
			return x, err
		}
	}
}

// effects does the settlements with effects in the caller's transaction, each in a savepoint, and returns what there is to tell.
func (c callers) effects(ctx context.Context, s *settling) ([]topic, error) {
	var topics []topic
	for i := range s.effects {
		e := &s.effects[i]
		x, err := c.effect(ctx, e)
		var ours *known
		switch {
		case errors.As(err, &ours), refusal(err):
			s.refused[e.hold] = err
		case err != nil:
			return nil, err
		case !x.lost:
			s.done[e.hold] = true
			topics = append(topics, x.allTopics(e.id)...)
			for _, end := range x.endings {
				topics = append(topics, resultTopic(end.id))
			}
			if x.follows {
				topics = append(topics, workTopic)
			}
		}
	}
	return topics, nil
}

// effect does one settlement in a savepoint.
func (c callers) effect(ctx context.Context, e *effected) (x *effecting, err error) {
	const undo = "ROLLBACK TO SAVEPOINT omniq_effects"
	if err := c.q.run(ctx, stmt{sql: "SAVEPOINT omniq_effects"}); err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		x = &effecting{b: c.b, q: anyDriver{c.q}, store: c.q, plain: true}
		err = x.effect(ctx, e)
		if err == nil {
			return x, c.q.run(ctx, stmt{sql: "RELEASE SAVEPOINT omniq_effects"})
		}
		if undone := c.q.run(ctx, stmt{sql: undo}); undone != nil {
			return nil, fmt.Errorf("%w, and cannot be undone: %w", err, undone)
		}
		if errors.Is(err, errMoved) { // see again
			n = 0
			continue
		}
		if n == tries || code(err) != divisionByZero {
			return x, err
		}
	}
}
