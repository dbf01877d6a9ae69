package sqlite

import (
	"database/sql/driver"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// The states of tasks that are not final, as they are stored and counted. Results are counted by their status.
const (
	stateScheduled int64 = 0 // pending, and due later
	stateReady     int64 = 1
	stateRunning   int64 = 2
	stateWaiting   int64 = 7
	stateNone      int64 = -1 // of one that is new, or final
)

// tx is what a transaction does, and what others are to be told when it is committed.
type tx struct {
	q      querier
	config *config
	now    time.Time // by the backend's clock
	us     int64     // now

	behind  bool          // something was to happen by itself before now, and there was no time for it
	allowed time.Duration // see allowance
	spare   time.Duration // what is left of that for what leases need at once
	recount bool          // the counts are to be compared with what there is
	review  bool          // inputs are to be looked at that are kept
	shrunk  bool          // pages of the file were given back

	bounds   *bounds
	opens    int64 // when calls are to look again that wait for a rate or a hold, 0 for never
	reopened bool

	counts  map[count]int64 // what is to be added
	tallies tallies         // what was done
	last    *tally          // the one that was used last
	ready   map[string]bool // queues that have got tasks that are ready
	revoked map[string]bool // workers that have lost leases
	ended   []ended
	noted   bool        // there are events
	streams []uuid.UUID // tasks whose streams have got items

	fallout []fallout           // tasks that have ended, whose followers are to be told
	left    bool                // some of them are in the store
	loose   []uuid.UUID         // followers that were told, and may have nothing to wait for any more
	members map[uuid.UUID]int64 // the last number of a member of each flow that was joined
}

type count struct {
	queue string
	state int64
}

// ended is a task that has become final. An error is that its result cannot be read.
type ended struct {
	id     uuid.UUID
	result *omniq.RawResult
	err    error
}

func newTx(q querier, c *config) *tx {
	now := c.clock()
	return &tx{
		q: q, config: c, now: now, us: now.UnixMicro(), allowed: c.allowance, spare: c.allowance,
		bounds: new(bounds), counts: make(map[count]int64), tallies: make(tallies), ready: make(map[string]bool), revoked: make(map[string]bool),
	}
}

func (t *tx) add(queue string, state, n int64) { t.counts[count{queue, state}] += n }

// count stores the counts, and what was done.
func (t *tx) count() error {
	if err := t.storeTallies(); err != nil {
		return err
	}
	values := make([]driver.Value, 0, 3*len(t.counts))
	for c, n := range t.counts {
		if n != 0 {
			values = append(values, c.queue, c.state, n)
		}
	}
	return addCounts.exec(t.q, values)
}

var addCounts = newMany("INSERT INTO omniq_counts (queue, state, n) VALUES ", 3, " ON CONFLICT DO UPDATE SET n = n + excluded.n")

// task is a row of omniq_tasks.
type task struct {
	seq, state int64
	id         uuid.UUID
	name       string
	queue      string
	due        int64
	deadline   driver.Value
	wake       int64 // 0 for none
	token      int64 // of its lease, 0 for none
	attempt    int64
	started    bool // the attempt of its lease has
	lost       int64
	shunned    driver.Value
	worker     driver.Value
	uniqueKey  driver.Value
	ties       int64
	lane       driver.Value
	envelope   string // empty if it was not asked for
}

const taskColumns = "seq, state, id, name, queue, due, deadline, wake, token, attempt, worker, unique_key, started, lost, shunned, ties, lane"

// columnsOfTask is how many they are.
const columnsOfTask = 17

func (r *task) scan(v []driver.Value) {
	*r = task{
		seq: v[0].(int64), state: v[1].(int64), name: text(v[3]), queue: text(v[4]),
		due: v[5].(int64), deadline: v[6], attempt: v[9].(int64), worker: v[10], uniqueKey: v[11],
		started: v[12].(int64) != 0, lost: v[13].(int64), shunned: v[14], ties: v[15].(int64), lane: v[16],
	}
	r.id = idOf(v[2])
	r.wake, _ = v[7].(int64)
	r.token, _ = v[8].(int64)
	if len(v) > columnsOfTask {
		r.envelope = text(v[columnsOfTask])
	}
}

// rows adds a row to a list.
func rows(to *[]task) func([]driver.Value) error {
	return func(v []driver.Value) error {
		*to = append(*to, task{})
		(*to)[len(*to)-1].scan(v)
		return nil
	}
}

func idOf(v driver.Value) (id uuid.UUID) {
	b, _ := v.([]byte)
	copy(id[:], b)
	return id
}

// find returns the row of a task as it is now, and nil if there is none.
func (t *tx) find(id uuid.UUID) (found *task, err error) {
	for {
		found = nil
		err = t.q.query("SELECT "+taskColumns+", task FROM omniq_tasks WHERE id = ?", func(v []driver.Value) error {
			found = new(task)
			found.scan(v)
			return nil
		}, id[:])
		if err != nil || found == nil || found.wake == 0 || found.wake > t.us {
			return found, err
		}
		if err := t.happen(found); err != nil {
			return nil, err
		}
	}
}

// place is the state and the wake of a task that is pending.
func (t *tx) place(due int64, deadline driver.Value) (state int64, wake driver.Value) {
	end, expires := deadline.(int64)
	switch {
	case expires && end <= t.us:
		return stateScheduled, end // advance makes it expired
	case due <= t.us:
		return stateReady, deadline
	case expires && end < due:
		return stateScheduled, end
	}
	return stateScheduled, due
}

// pend makes a task pending that is running, as the row says.
func (t *tx) pend(r *task, failed bool, failure driver.Value) error {
	state, wake := t.place(r.due, r.deadline)
	_, err := t.q.exec(`UPDATE omniq_tasks SET state = ?, due = ?, wake = ?, token = NULL, started = 0, attempt = ?, lost = ?,
		shunned = ?, since = ?, error = CASE WHEN ? THEN ? ELSE error END WHERE seq = ?`,
		state, r.due, wake, r.attempt, r.lost, r.shunned, t.us, failed, failure, r.seq)
	if err != nil {
		return err
	}
	return t.move(r, stateRunning, state)
}

// move counts a task in another state.
func (t *tx) move(r *task, from, to int64) error {
	if err := t.shift(r.queue, r.lane, from, to); err != nil {
		return err
	}
	t.add(r.queue, from, -1)
	t.add(r.queue, to, 1)
	if to == stateReady {
		t.ready[r.queue] = true
	}
	if from == stateRunning {
		return t.freed(r.queue)
	}
	return nil
}

// end ends a task that was cancelled or has expired.
func (t *tx) end(r *task, status omniq.Status) error {
	return t.conclude(r, func(raw *omniq.RawTask) *omniq.RawResult {
		if status == omniq.StatusExpired {
			return omniq.ExpiredResult(raw, t.now, int(r.attempt))
		}
		return omniq.CancelledResult(raw, t.now, int(r.attempt))
	})
}

// conclude ends a task with the result that a backend makes of it.
func (t *tx) conclude(r *task, of func(*omniq.RawTask) *omniq.RawResult) error {
	raw := new(omniq.RawTask)
	if err := raw.UnmarshalJSON([]byte(r.envelope)); err != nil { // it must not be in the way of all others
		raw = &omniq.RawTask{ID: r.id}
	}
	if raw.ID != r.id {
		raw.ID = r.id
	}
	if raw.TTL == nil {
		raw.TTL = new(time.Duration)
	}
	result := of(raw)
	envelope, err := result.AppendJSON(nil)
	if err != nil {
		return err
	}
	if _, err := t.q.exec("DELETE FROM omniq_tasks WHERE seq = ?", r.seq); err != nil {
		return err
	}
	return t.finish(r, result, string(envelope))
}

// outcome is a task with its result.
type outcome struct {
	*task
	result *omniq.RawResult
	text   string // the result's envelope
	keeps  bool   // the task's is kept, too
}

// finish keeps the result of a task whose row is gone.
func (t *tx) finish(r *task, result *omniq.RawResult, envelope string) error {
	f := outcome{r, result, envelope, result.Status != omniq.StatusSuccess}
	if err := t.keep(&f); err != nil {
		return err
	}
	return t.finishRest(&f)
}

// finishRest does what else there is to do about the end of a task, once its result is kept.
func (t *tx) finishRest(f *outcome) error {
	r, result := f.task, f.result
	if r.uniqueKey != nil {
		_, err := t.q.exec("DELETE FROM omniq_unique WHERE name = ? AND key = ? AND id = ? AND until IS NULL",
			r.name, r.uniqueKey, r.id[:])
		if err != nil {
			return err
		}
	}
	if err := t.shift(r.queue, r.lane, r.state, stateNone); err != nil {
		return err
	}
	t.add(r.queue, r.state, -1)
	if r.state == stateRunning {
		if err := t.freed(r.queue); err != nil {
			return err
		}
	}
	if r.ties != 0 {
		if err := t.ends(r, result); err != nil {
			return err
		}
	}
	worker := r.worker
	if r.token == 0 { // it ends on none
		worker = nil
	}
	return t.note(engine.EventOf[result.Status], r.id, r.name, r.queue, worker, result.Attempts, result.Error)
}

// keep stores a result, the same row as keepResults.
func (t *tx) keep(f *outcome) error {
	const q = `INSERT INTO omniq_results (id, status, name, queue, since, due, worker, expires, result, task, lost, ties, until, look)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?13, ?13) ON CONFLICT (id) DO NOTHING`
	var due, kept, look driver.Value
	if f.due != 0 {
		due = f.due
	}
	if f.keeps {
		kept = f.envelope
	}
	expires := t.expiry(f.result.TTL)
	if f.ties&tieInput != 0 { // it is kept as long as it is needed
		expires, look = nil, expires
	}
	for {
		n, err := t.q.exec(q, f.id[:], int64(f.result.Status), f.name, f.queue, t.us, due, f.worker,
			expires, f.text, kept, f.lost, f.ties, look)
		if err != nil {
			return err
		}
		if n > 0 {
			break
		}
		if err := t.drop(f.id); err != nil { // of an earlier life of the task, whose time is over
			return err
		}
	}
	t.countResult(f)
	return nil
}

// countResult counts a result that is stored, and tells those that wait for it.
func (t *tx) countResult(f *outcome) {
	t.add(f.queue, int64(f.result.Status), 1)
	t.ended = append(t.ended, ended{id: f.id, result: f.result})
}

// drop removes a result, and what is kept beside it.
func (t *tx) drop(id uuid.UUID) error {
	ties, err := t.dropRow(id)
	if err != nil {
		return err
	}
	return t.untieAll(id, ties)
}

// dropRow removes a result, and returns its ties.
func (t *tx) dropRow(id uuid.UUID) (ties int64, err error) {
	err = t.q.query("DELETE FROM omniq_results WHERE id = ? RETURNING queue, status, ties", func(v []driver.Value) error {
		t.add(text(v[0]), v[1].(int64), -1)
		ties = v[2].(int64)
		return nil
	}, id[:])
	if err == nil && ties&tieFollowed != 0 { // who waits for it waits for its next life now
		_, err = t.q.exec("DELETE FROM omniq_fallout WHERE id = ?", id[:])
		t.fallout = slices.DeleteFunc(t.fallout, func(f fallout) bool { return f.id == id })
	}
	return ties, err
}

// expiry is when a result goes that is kept for a TTL from now.
func (t *tx) expiry(ttl *time.Duration) driver.Value {
	if ttl == nil {
		return nil
	}
	return t.us + max(0, microseconds(*ttl))
}
