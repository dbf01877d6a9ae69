package redis_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

var (
	differSeeds = flag.Int("differ", 3, "how many random runs TestAsMemory makes")
	differFirst = flag.Uint64("differ.first", 1, "the seed of the first of them")
)

// Whatever is done, in whatever order, the answers and what is left are those of the backend in memory, which is the reference.
func TestAsMemory(t *testing.T) {
	t.Parallel()
	for seed := *differFirst; seed < *differFirst+uint64(*differSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			name := namespace(t)
			d := &differ{
				T: t, r: rand.New(rand.NewPCG(seed, 0)), memory: memory.New(memory.WithEvents(time.Hour)),
				redis: openIn(t, name),
			}
			defer func() { require.NoError(t, d.memory.Close()) }()
			for range 150 {
				d.step()
				d.compare()
				if t.Failed() {
					t.Log("what was done:\n", d.told())
					return
				}
			}
			checkConsistent(t, url(t), name)
		})
	}
}

// differ does the same with two backends.
type differ struct {
	*testing.T
	r             *rand.Rand
	memory, redis omniq.Backend
	ids, flows    []uuid.UUID
	known         []uuid.UUID // of ids: those of which something is kept
	leases        []both
	log           string
}

// both are the leases of a task in both.
type both struct{ memory, redis omniq.Lease }

var differQueues = []string{"p", "q"}

func (d *differ) say(format string, args ...any) { d.log += fmt.Sprintf(format, args...) + "\n" }

// told is what was done, with numbers instead of IDs.
func (d *differ) told() string {
	var pairs []string
	for i, id := range d.ids {
		pairs = append(pairs, id.String(), fmt.Sprint("#", i))
	}
	return strings.NewReplacer(append(pairs, uuid.Nil.String(), "-")...).Replace(d.log)
}

func (d *differ) short(ids []uuid.UUID) (list []string) {
	for _, id := range ids {
		list = append(list, fmt.Sprint("#", slices.Index(d.ids, id)))
	}
	return list
}

func pick[T any](d *differ, list []T) (x T) {
	if len(list) == 0 {
		return x
	}
	return list[d.r.IntN(len(list))]
}

func (d *differ) chance(n int) bool { return d.r.IntN(n) == 0 }

func (d *differ) id() uuid.UUID {
	if d.chance(20) || len(d.known) == 0 {
		return uuid.New()
	}
	if d.chance(2) { // the newest do most
		return d.known[len(d.known)-1-d.r.IntN(min(len(d.known), 6))]
	}
	return pick(d, d.known)
}

func (d *differ) someIDs() []uuid.UUID {
	ids := make([]uuid.UUID, 1+d.r.IntN(3))
	for i := range ids {
		ids[i] = d.id()
	}
	return ids
}

// task makes a task. Some of those before it are in the same call.
func (d *differ) task(before []*omniq.RawTask) *omniq.RawTask {
	t := batch(1)[0]
	t.FuncName = pick(d, []string{"f", "g"})
	t.Queue = pick(d, differQueues)
	t.Priority = d.r.IntN(2_000_001) - 1_000_000 // none is another's: what becomes due in one step here does so one after the other in memory
	t.Lane = pick(d, []string{"", "", "a", "b"})
	t.ResultTTL = pick(d, []*time.Duration{nil, new(time.Hour), new(time.Duration(0))})
	if d.chance(6) {
		t.Delay = time.Hour
	}
	if d.chance(15) {
		t.ID = d.id()
	}
	if d.chance(20) {
		t.IDFor = time.Hour
	}
	if d.chance(4) {
		t.UniqueKey = pick(d, []string{"k", "l"})
		switch {
		case d.chance(4):
			t.UniqueFor = time.Hour
		case d.chance(2):
			t.OnHeld = pick(d, []omniq.OnHeld{omniq.HeldReplace, omniq.HeldBehind})
			if d.chance(3) {
				t.ReplaceWithin = 2 * time.Hour
			}
		}
	}
	if t.OnHeld == omniq.HeldRefuse {
		t.Manual = d.chance(10)
		for range d.r.IntN(3) {
			id := d.id()
			if len(before) > 0 && d.chance(2) {
				id = pick(d, before).ID
			}
			if id == t.ID || slices.ContainsFunc(t.After, func(o omniq.Dependency) bool { return o.ID == id }) {
				continue
			}
			t.After = append(t.After, omniq.Dependency{ID: id, Need: omniq.Need(d.r.IntN(2)), Input: d.chance(2)})
		}
	}
	return t
}

func (d *differ) tasks() []*omniq.RawTask {
	var list []*omniq.RawTask
	for range 1 + d.r.IntN(3) {
		list = append(list, d.task(list))
	}
	if d.chance(3) {
		flow := uuid.New()
		if d.chance(4) && len(d.flows) > 0 {
			flow = pick(d, d.flows)
		}
		for _, t := range list {
			if t.OnHeld == omniq.HeldRefuse {
				t.Flow = flow
			}
		}
		d.flows = append(d.flows, flow)
	}
	for _, t := range list {
		d.ids = append(d.ids, t.ID)
	}
	return list
}

// kind is what there is to tell of an error.
func kind(err error) string {
	if err == nil {
		return "nil"
	}
	if dup, ok := errors.AsType[omniq.Duplicate](err); ok {
		return fmt.Sprintf("%+v", dup)
	}
	for _, e := range []error{
		omniq.ErrInvalid, omniq.ErrNotFound, omniq.ErrState, omniq.ErrLeaseLost, omniq.ErrCancelled, omniq.ErrExpired, omniq.ErrDuplicate,
	} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return err.Error()
}

func kinds(errs []error, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "nil"
		if errs != nil {
			list[i] = kind(errs[i])
		}
	}
	return list
}

// same does a call with both, and compares the answers for each of n items.
func (d *differ) same(n int, what string, call func(b omniq.Backend) ([]error, error)) {
	d.Helper()
	want, wantErr := call(d.memory)
	got, gotErr := call(d.redis)
	d.say("%s: %v %v", what, kinds(want, n), kind(wantErr))
	assert.Equal(d, kind(wantErr), kind(gotErr), "%s: %v", what, gotErr)
	if wantErr == nil && gotErr == nil {
		assert.Equal(d, kinds(want, n), kinds(got, n), "%s: %v, %v", what, want, got)
	}
}

func (d *differ) step() {
	ctx := context.Background()
	switch n := d.r.IntN(32); {
	case n < 9:
		list := d.tasks()
		var what strings.Builder
		for _, t := range list {
			fmt.Fprintf(&what, " %v %s/%s p%d lane %q key %q for %v held %v after %v flow %v manual %v delay %v", t.ID, t.Queue, t.FuncName, t.Priority, t.Lane,
				t.UniqueKey, t.UniqueFor, t.OnHeld, t.After, t.Flow, t.Manual, t.Delay)
		}
		d.same(len(list), "Enqueue"+what.String(), func(b omniq.Backend) ([]error, error) { return b.Enqueue(ctx, list) })
	case n < 15:
		d.lease()
	case n < 22:
		d.settle()
	case n < 23:
		ids := d.someIDs()
		d.same(len(ids), fmt.Sprint("Cancel ", ids), func(b omniq.Backend) ([]error, error) { return b.Cancel(ctx, ids) })
	case n < 25:
		ids, follow := d.someIDs(), d.chance(2)
		d.same(len(ids), fmt.Sprint("Requeue ", ids, follow), func(b omniq.Backend) ([]error, error) { return b.Requeue(ctx, ids, follow) })
	case n < 26:
		ids := d.someIDs()
		d.same(len(ids), fmt.Sprint("Forget ", ids), func(b omniq.Backend) ([]error, error) { return b.Forget(ctx, ids) })
	case n < 27:
		ids := d.someIDs()
		d.same(len(ids), fmt.Sprint("RunNow ", ids), func(b omniq.Backend) ([]error, error) { return b.RunNow(ctx, ids) })
	case n < 28:
		r := d.result(d.id(), pick(d, []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure}))
		d.same(1, fmt.Sprint("Resolve ", r.TaskID, r.Status), func(b omniq.Backend) ([]error, error) { return b.Resolve(ctx, []*omniq.RawResult{r}) })
	case n < 29:
		limit := pick(d, []omniq.Limit{{}, {Running: 2}, {EachLane: omniq.LaneLimit{Running: 1}}, {Running: 3, EachLane: omniq.LaneLimit{Running: 2}}})
		queue := pick(d, differQueues)
		d.same(0, fmt.Sprint("SetLimit ", queue, limit), func(b omniq.Backend) ([]error, error) { return nil, b.SetLimit(ctx, queue, limit) })
	case n < 30:
		d.rest()
	default:
		if len(d.flows) > 0 && d.chance(3) {
			flow := pick(d, d.flows)
			var counts []int
			d.same(0, fmt.Sprint("CancelFlow ", flow), func(b omniq.Backend) ([]error, error) {
				n, err := b.CancelFlow(ctx, flow)
				counts = append(counts, n)
				return nil, err
			})
			assert.Equal(d, counts[0], counts[1])
		}
	}
}

// rest are calls that are rare.
func (d *differ) rest() {
	ctx := context.Background()
	queue := pick(d, differQueues)
	switch d.r.IntN(5) {
	case 0:
		d.same(0, "Pause "+queue, func(b omniq.Backend) ([]error, error) { return nil, b.Pause(ctx, queue) })
	case 1:
		for _, queue := range differQueues {
			d.same(0, "Resume "+queue, func(b omniq.Backend) ([]error, error) { return nil, b.Resume(ctx, queue) })
		}
	case 2:
		keys := []omniq.UniqueKey{{FuncName: "f", Key: "k"}, {FuncName: "g", Key: "l"}}
		d.same(2, "Free", func(b omniq.Backend) ([]error, error) { return b.Free(ctx, keys) })
	case 3:
		r := d.result(d.id(), omniq.StatusSuccess)
		d.ids = append(d.ids, r.TaskID)
		d.same(1, fmt.Sprint("Record ", r.TaskID), func(b omniq.Backend) ([]error, error) { return b.Record(ctx, []*omniq.RawResult{r}) })
	case 4:
		u := omniq.Update{ID: d.id(), FuncName: "f", Status: pick(d, []omniq.Status{omniq.StatusPending, omniq.StatusFailure, omniq.StatusCancelled}), Args: omniq.Raw("[1]"), Kwargs: omniq.Raw("{}")}
		u.Due = u.Status == omniq.StatusPending && d.chance(2)
		d.same(1, fmt.Sprint("Update ", u.ID, u.Status), func(b omniq.Backend) ([]error, error) { return b.Update(ctx, []omniq.Update{u}) })
	}
}

func (d *differ) lease() {
	r := omniq.LeaseRequest{Queues: slices.Clone(differQueues), Max: 1 + d.r.IntN(4), Duration: time.Hour, WorkerID: pick(d, []string{"v", "w"})}
	if d.chance(4) {
		slices.Reverse(r.Queues)
	}
	if d.chance(4) {
		r.Names = []string{"g"}
	}
	if d.chance(4) {
		r.Ahead = d.r.IntN(r.Max + 1)
	}
	if d.chance(5) {
		r.Limits = []int{1, 2}
	}
	want, err := d.memory.Lease(context.Background(), r)
	require.NoError(d, err)
	got, err := d.redis.Lease(context.Background(), r)
	require.NoError(d, err)
	var wantIDs, gotIDs []uuid.UUID
	for _, l := range want {
		wantIDs = append(wantIDs, l.TaskID)
	}
	for _, l := range got {
		gotIDs = append(gotIDs, l.TaskID)
	}
	d.say("Lease %+v: %v", r, wantIDs)
	require.Equal(d, d.short(wantIDs), d.short(gotIDs), "Lease %+v; what was done:\n%s", r, d.told())
	for i := range want {
		w, g := want[i], got[i]
		d.leases = append(d.leases, both{w, g})
		w.Token, g.Token, w.Waited, g.Waited, w.Expires, g.Expires = "", "", 0, 0, time.Time{}, time.Time{}
		w.Task, g.Task = plainTask(w.Task), plainTask(g.Task)
		for k := range w.Inputs {
			w.Inputs[k] = plainResult(w.Inputs[k])
		}
		for k := range g.Inputs {
			g.Inputs[k] = plainResult(g.Inputs[k])
		}
		assert.Equal(d, (w.Deferred > 0), (g.Deferred > 0))
		w.Deferred, g.Deferred = 0, 0
		assert.Equal(d, w, g)
	}
}

// plainTask is a task without times that depend on when it was requeued.
func plainTask(t *omniq.RawTask) *omniq.RawTask {
	if t == nil {
		return nil
	}
	with := *t
	with.CreatedAt = time.Time{}
	if with.TTL != nil {
		with.TTL = new(with.TTL.Truncate(time.Second))
	}
	return &with
}

func plainResult(r *omniq.RawResult) *omniq.RawResult {
	if r == nil {
		return nil
	}
	with := *r
	with.Timestamp = time.Time{}
	if len(with.ResultData) == 0 {
		with.ResultData = nil
	}
	return &with
}

func (d *differ) result(id uuid.UUID, status omniq.Status) *omniq.RawResult {
	r := &omniq.RawResult{TaskID: id, Status: status, Timestamp: time.Now().UTC().Truncate(time.Microsecond), TTL: pick(d, []*time.Duration{nil, new(time.Hour), new(time.Duration(0))}), Attempts: 1}
	if status == omniq.StatusSuccess {
		r.ResultData = omniq.Raw(`"` + id.String() + `"`)
	} else {
		r.Error = &omniq.TaskError{Type: "t", Message: "it has \"failed\"\n\u00e4"}
	}
	return r
}

func (d *differ) settle() {
	if len(d.leases) == 0 {
		return
	}
	i := d.r.IntN(len(d.leases))
	l := d.leases[i]
	if !d.chance(8) { // else it is settled twice
		d.leases = slices.Delete(d.leases, i, i+1)
	}
	ctx := context.Background()
	if !l.memory.Started && d.chance(2) {
		d.same(1, fmt.Sprint("Start ", l.memory.TaskID), func(b omniq.Backend) ([]error, error) { return b.Start(ctx, []omniq.LeaseID{d.of(b, l)}) })
	}
	s := omniq.Settlement{Action: omniq.Action(1 + d.r.IntN(4))}
	if d.chance(2) {
		s.Action = omniq.ActionFinish
	}
	switch s.Action {
	case omniq.ActionFinish:
		s.Result = d.result(l.memory.TaskID, pick(d, []omniq.Status{omniq.StatusSuccess, omniq.StatusSuccess, omniq.StatusFailure}))
	case omniq.ActionRetry:
		s.Error = &omniq.TaskError{Type: "r", Message: "again"}
		fallthrough
	default:
		if d.chance(3) {
			s.Delay = time.Hour
		}
	}
	if d.chance(20) {
		s.Hold = time.Hour
	}
	if d.chance(3) {
		e := &omniq.Effects{Enqueue: d.tasks()}
		for _, t := range e.Enqueue {
			if l.memory.Task.Flow != uuid.Nil && d.chance(2) && t.OnHeld == omniq.HeldRefuse {
				t.Flow = l.memory.Task.Flow
			}
		}
		if d.chance(4) {
			e.Cancel = d.someIDs()
		}
		if d.chance(2) {
			e.Notes = omniq.Notes{Progress: omniq.Raw(`{"p":1}`), State: omniq.Raw(`{"s":1}`), Stream: []omniq.StreamItem{{Name: "rows", Data: omniq.Raw("1")}}}
		}
		if d.chance(2) {
			s = omniq.Settlement{Action: omniq.ActionWait}
			for _, t := range e.Enqueue {
				if d.chance(2) {
					e.After = append(e.After, omniq.Dependency{ID: t.ID, Need: omniq.Need(d.r.IntN(2)), Input: d.chance(2)})
				}
			}
		}
		if omniq.CheckDependencies(l.memory.TaskID, e.After) != nil {
			e.After = nil
		}
		s.Effects = e
	}
	var what strings.Builder
	fmt.Fprintf(&what, "Settle %v %d %+v", l.memory.TaskID, s.Action, s.Effects)
	if s.Effects != nil {
		for _, t := range s.Effects.Enqueue {
			fmt.Fprintf(&what, " %v key %q held %v after %v flow %v", t.ID, t.UniqueKey, t.OnHeld, t.After, t.Flow)
		}
	}
	d.same(1, what.String(), func(b omniq.Backend) ([]error, error) {
		s := s
		s.LeaseID = d.of(b, l)
		return b.Settle(ctx, []omniq.Settlement{s})
	})
}

func (d *differ) of(b omniq.Backend, l both) omniq.LeaseID {
	if b == d.memory {
		return l.memory.LeaseID
	}
	return l.redis.LeaseID
}

// compare compares all that is known of all tasks.
func (d *differ) compare() {
	ctx := context.Background()
	var stats [2][]omniq.QueueStats
	for i, b := range []omniq.Backend{d.memory, d.redis} {
		var err error
		stats[i], err = b.Stats(ctx)
		require.NoError(d, err)
		for k := range stats[i] {
			stats[i][k].Latency = 0
		}
	}
	assert.Equal(d, stats[0], stats[1])
	d.known = nil
	for _, id := range d.ids {
		want, wantErr := d.memory.Inspect(ctx, id)
		got, gotErr := d.redis.Inspect(ctx, id)
		if !assert.Equal(d, kind(wantErr), kind(gotErr), "task %v", id) || wantErr != nil {
			continue
		}
		d.known = append(d.known, id)
		w, g := *want, *got
		assert.WithinDuration(d, w.Since, g.Since, time.Minute)
		assert.WithinDuration(d, w.Due, g.Due, time.Minute)
		w.Since, g.Since, w.Due, g.Due, w.Expires, g.Expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		w.Task, g.Task = plainTask(w.Task), plainTask(g.Task)
		if w.Status == omniq.StatusSuccess {
			w.Lane = g.Lane // in memory it goes with the task
		}
		assert.Equal(d, w, g)
		r1, err1 := d.memory.Result(ctx, id)
		r2, err2 := d.redis.Result(ctx, id)
		if assert.Equal(d, kind(err1), kind(err2)) && err1 == nil {
			assert.Equal(d, plainResult(r1), plainResult(r2))
		}
	}
	for _, flow := range d.flows {
		want, wantErr := d.memory.FlowStats(ctx, flow)
		got, gotErr := d.redis.FlowStats(ctx, flow)
		assert.Equal(d, kind(wantErr), kind(gotErr))
		assert.Equal(d, want, got)
	}
	if d.chance(10) {
		r := omniq.ListRequest{Status: omniq.Status(1 + d.r.IntN(7)), Newest: d.chance(2), Max: 1 + d.r.IntN(9), Queue: pick(d, []string{"", "p"})}
		assert.Equal(d, d.list(d.memory, r), d.list(d.redis, r), "%+v", r)
	}
}

// list is a whole list, page by page.
func (d *differ) list(b omniq.Backend, r omniq.ListRequest) (ids []uuid.UUID) {
	for {
		page, next, err := b.List(context.Background(), r)
		require.NoError(d, err)
		for _, info := range page {
			ids = append(ids, info.ID)
		}
		if next == "" {
			return ids
		}
		r.After = next
	}
}
