package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// found are the IDs of what a search yields.
func found(t *testing.T, search iter.Seq2[*omniq.TaskInfo, error]) (ids []uuid.UUID) {
	t.Helper()
	for info, err := range search {
		require.NoError(t, err)
		ids = append(ids, info.ID)
	}
	return ids
}

// some enqueues tasks in a queue, of which each has its number as its argument.
func some(t *testing.T, c *omniq.Client, queue string, n int) []uuid.UUID {
	t.Helper()
	d := omniq.ReferArgs[omniq.Args1[int], int]("some")
	ids := make([]uuid.UUID, n)
	for i := range n {
		h, err := d.Enqueue(t.Context(), c, omniq.Args1[int]{V1: i}, omniq.Queue(queue))
		require.NoError(t, err)
		ids[i] = h.ID()
	}
	return ids
}

func TestSearch(t *testing.T) {
	_, client := newMemory(t)
	a, b := some(t, client, "a", 450), some(t, client, "b", 3)
	require.NoError(t, client.Cancel(t.Context(), a[:210]...))
	for name, c := range map[string]struct {
		q    omniq.Query
		want int
	}{
		"all":                   {omniq.Query{}, 453},
		"of a queue":            {omniq.Query{Queue: "a"}, 450},
		"in a state":            {omniq.Query{Statuses: []omniq.Status{omniq.StatusCancelled}}, 210},
		"in two":                {omniq.Query{Queue: "b", Statuses: []omniq.Status{omniq.StatusCancelled, omniq.StatusPending}}, 3},
		"in one, named twice":   {omniq.Query{Statuses: []omniq.Status{omniq.StatusCancelled, omniq.StatusCancelled}}, 210},
		"in a state of a queue": {omniq.Query{Queue: "b", Statuses: []omniq.Status{omniq.StatusCancelled}}, 0},
		"of a function":         {omniq.Query{Name: "some", Queue: "b"}, 3},
		"of no function":        {omniq.Query{Name: "none"}, 0},
		"with an argument":      {omniq.Query{Contains: `"args":[2]`}, 2},
		"of no flow":            {omniq.Query{Flow: uuid.New()}, 0},
		"of no worker":          {omniq.Query{Worker: "w"}, 0},
		"where it is so":        {omniq.Query{Where: func(i *omniq.TaskInfo) bool { return i.ID == a[0] || i.ID == b[0] }}, 2},
	} {
		ids := found(t, client.Search(t.Context(), c.q))
		assert.Len(t, ids, c.want, name)
		seen := make(map[uuid.UUID]bool)
		for _, id := range ids {
			assert.False(t, seen[id], name)
			seen[id] = true
		}
	}
	ids := found(t, client.Search(t.Context(), omniq.Query{Queue: "b"}))
	assert.Equal(t, []uuid.UUID{b[2], b[1], b[0]}, ids, "the newest first")
	next, stop := iter.Pull2(client.Search(t.Context(), omniq.Query{}))
	_, err, ok := next()
	assert.NoError(t, err)
	assert.True(t, ok)
	stop() // it can be left

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		q    omniq.Query
		want error
	}{
		"an end":            {ctx, omniq.Query{}, context.Canceled},
		"no status":         {t.Context(), omniq.Query{Statuses: []omniq.Status{99}}, omniq.ErrInvalid},
		"a lane of nothing": {t.Context(), omniq.Query{Lane: "l"}, omniq.ErrInvalid},
	} {
		n := 0
		for info, err := range client.Search(c.ctx, c.q) {
			assert.Nil(t, info, name)
			require.ErrorIs(t, err, c.want, name)
			n++
		}
		assert.Equal(t, 1, n, name)
	}
}

func TestBulkByQuery(t *testing.T) {
	b, client := newMemory(t)
	const many = 2500
	a, other := some(t, client, "a", many), some(t, client, "b", 2)
	n, err := client.CancelAll(t.Context(), omniq.Query{Queue: "a"})
	require.NoError(t, err)
	assert.Equal(t, many, n)
	n, err = client.CancelAll(t.Context(), omniq.Query{Queue: "a"})
	require.NoError(t, err)
	assert.Zero(t, n)
	info, err := client.Inspect(t.Context(), other[0])
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusPending, info.Status)

	n, err = client.ForgetAll(t.Context(), omniq.Query{Queue: "a", Where: func(i *omniq.TaskInfo) bool { return i.ID == a[0] }})
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	n, err = client.RequeueAll(t.Context(), omniq.Query{Queue: "a"})
	require.NoError(t, err)
	assert.Equal(t, many-1, n)

	// Those that are refused are named, and the others done.
	m := &meddler{Backend: b}
	refusing := newClient(t, &refuser{meddler: m, id: a[7]})
	n, err = refusing.CancelAll(t.Context(), omniq.Query{Queue: "a"})
	var refused *omniq.BulkError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "cancel", refused.Op)
	assert.Equal(t, []omniq.RefusedTask{{ID: a[7], Err: omniq.ErrState}}, refused.Refused)
	assert.Equal(t, many-2, n)

	for name, err := range map[string]error{
		"to requeue what waits":    second(client.RequeueAll(t.Context(), omniq.Query{Statuses: []omniq.Status{omniq.StatusPending}})),
		"to requeue a success":     second(client.RequeueAll(t.Context(), omniq.Query{Statuses: []omniq.Status{omniq.StatusSuccess}})),
		"to cancel what has ended": second(client.CancelAll(t.Context(), omniq.Query{Statuses: []omniq.Status{omniq.StatusFailure}})),
		"to forget what runs":      second(client.ForgetAll(t.Context(), omniq.Query{Statuses: []omniq.Status{omniq.StatusRunning}})),
	} {
		assert.ErrorIs(t, err, omniq.ErrInvalid, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err = client.CancelAll(ctx, omniq.Query{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, n)
}

// refuser refuses to cancel one task.
type refuser struct {
	*meddler
	id uuid.UUID
}

func (r *refuser) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	errs := make([]error, len(ids))
	var rest []uuid.UUID
	for i, id := range ids {
		if id == r.id {
			errs[i] = omniq.ErrState
			continue
		}
		rest = append(rest, id)
	}
	_, err := r.meddler.Cancel(ctx, rest)
	return errs, err
}

// What fails again while all that has failed is requeued is not requeued again.
func TestRequeueAllRequeuesEachOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran atomic.Int64
		fails := omniq.DefineArgs("some", func(context.Context, omniq.Args1[int]) (int, error) {
			ran.Add(1)
			return 0, omniq.Permanent(errOops)
		})
		run(t, b, omniq.Handlers(fails), omniq.Queues("a"))
		const n = 1500
		some(t, client, "a", n)
		synctest.Wait()
		require.EqualValues(t, n, ran.Load())
		slow := newClient(t, &slowLister{b})
		done, err := slow.RequeueAll(t.Context(), omniq.Query{Queue: "a", Statuses: []omniq.Status{omniq.StatusFailure}})
		require.NoError(t, err)
		assert.Equal(t, n, done)
		synctest.Wait()
		assert.EqualValues(t, 2*n, ran.Load(), "each once")
	})
}

// slowLister lets all that was begun end before it lists.
type slowLister struct{ omniq.Backend }

func (s *slowLister) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	time.Sleep(time.Second)
	return s.Backend.List(ctx, r)
}

func TestErrorGroups(t *testing.T) {
	b, client := newMemory(t)
	d := omniq.DefineArgs("some", func(_ context.Context, a omniq.Args1[int]) (int, error) {
		switch {
		case a.V1 == 0:
			return 0, nil
		case a.V1%3 == 0:
			return 0, omniq.Permanent(errors.New("no user " + strconv.Itoa(a.V1)))
		}
		return 0, omniq.Permanent(fmt.Errorf("dial %q: %w", "db"+strconv.Itoa(a.V1), context.DeadlineExceeded))
	})
	w := run(t, b, omniq.Handlers(d))
	ids := some(t, client, omniq.DefaultQueue, 10)
	for _, id := range ids {
		_, _ = client.Wait(t.Context(), id)
	}
	require.NoError(t, w.stop())
	groups, err := client.ErrorGroups(t.Context(), omniq.Query{})
	require.NoError(t, err)
	require.Len(t, groups, 2)
	assert.Equal(t, []any{6, "context.deadlineExceededError", "dial *: context deadline exceeded"}, []any{groups[0].Count, groups[0].Type, groups[0].Message})
	assert.Equal(t, []any{3, "error", "no user *"}, []any{groups[1].Count, groups[1].Type, groups[1].Message})
	for _, g := range groups {
		assert.False(t, g.Last.Before(g.First))
		assert.True(t, g.Has(g.Newest))
		assert.Equal(t, g.Last, g.Newest.Since)
	}
	n, err := client.RequeueAll(t.Context(), omniq.Query{Where: groups[1].Has})
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	groups, err = client.ErrorGroups(t.Context(), omniq.Query{Queue: omniq.DefaultQueue})
	require.NoError(t, err)
	assert.Len(t, groups, 1)
	groups, err = client.ErrorGroups(t.Context(), omniq.Query{Statuses: []omniq.Status{omniq.StatusSuccess, omniq.StatusPending}})
	require.NoError(t, err)
	assert.Empty(t, groups, "they have no errors")
	_, err = client.ErrorGroups(t.Context(), omniq.Query{Statuses: []omniq.Status{99}})
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = client.ErrorGroups(t.Context(), omniq.Query{Name: "\x00"})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.Equal(t, 1, strings.Count(err.Error(), "omniq: group errors"))
	assert.NotContains(t, err.Error(), "omniq: search", "it is said once")
}

func TestMaskMessage(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"nothing to hide": "nothing to hide",
		"task 018f6b1e-7c00-7abc-8def-0123456789ab failed": "task * failed",
		"user 42 has 3.5 of 10":                            "user * has * of *",
		"dial tcp 10.0.0.1:5432: refused":                  "dial tcp *: refused",
		`key "a \"b\" c" and "d"`:                          "key * and *",
		"at 0xc000012345 and deadbeef01":                   "at * and *",
		"größe 5 µs":                                       "größe * µs",
		`an open " quote`:                                  `an open " quote`,
	} {
		assert.Equal(t, want, omniq.MaskMessage(in))
	}
}
