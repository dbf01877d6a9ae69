package ui

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 µs", -time.Second: "0 s", 15 * time.Microsecond: "15 µs", 999 * time.Millisecond: "999 ms", 1500 * time.Millisecond: "1.5 s",
		59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s", 2 * time.Hour: "2 h", 25*time.Hour + time.Minute: "1 d 1 h",
		math.MaxInt64: "106751 d 23 h",
	} {
		assert.Equal(t, want, duration(d))
	}
}

func TestAgo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		now := time.Now()
		assert.Contains(t, ago(now.Add(-90*time.Second)), ">1 min 30 s ago<")
		assert.Contains(t, ago(now.Add(time.Millisecond)), ">now<", "a clock that goes ahead is not the future")
		assert.Contains(t, ago(now.Add(time.Hour)), ">in 1 h<")
		assert.EqualValues(t, "–", ago(time.Time{}))
		assert.Contains(t, at(time.Date(2026, 3, 29, 2, 30, 0, 0, time.FixedZone("CEST", 7200))), `datetime="2026-03-29T00:30:00Z">2026-03-29 00:30:00<`)
	})
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -1234: "-1,234", -123: "-123", 1234567: "1,234,567"} {
		assert.Equal(t, want, count(n))
	}
	assert.Equal(t, "10,000 or more", counted{10_000, true}.String())
	assert.Equal(t, 0, percent(1, 0))
	assert.Equal(t, 100, percent(12, 10))
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a b\n\tc": "a b\n\tc", "a\u202eb": `a\u202eb`, "\x00\x1b[31m": `\u0000\u001b[31m`, "نمی\u200cخواهم": "نمی\u200cخواهم", "👩\u200d🔬": "👩\u200d🔬",
		"\u2028\ufeff": `\u2028\ufeff`,
	} {
		assert.Equal(t, want, plain(text))
	}
}

func TestWithoutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "postgres://u:p@h/d": "postgres://...@h/d", "postgres://u:p@ss/w@h/d": "postgres://...@h/d",
		"password=x host=h": "password=... host=h", `PASSWORD: "a b" c`: `PASSWORD: ... c`, "?token=abc&x=1": "?token=...&x=1", "https://h/d": "https://h/d",
	} {
		assert.Equal(t, want, withoutSecrets(text))
	}
}

func TestLooks(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var l looks
		var loads atomic.Int64
		takes := time.Duration(0)
		load := func(context.Context) (any, error) {
			time.Sleep(takes)
			return loads.Add(1), nil
		}
		get := func(fresh time.Duration, live bool) int64 {
			v, err := l.get(t.Context(), "key", fresh, live, load)
			assert.NoError(t, err)
			n, _ := v.(int64)
			return n
		}
		assert.EqualValues(t, 1, get(time.Second, false))
		assert.EqualValues(t, 1, get(time.Second, false), "it is good still")
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, get(time.Second, false))
		l.forget()
		assert.EqualValues(t, 3, get(time.Second, false), "something was changed")

		time.Sleep(time.Second)
		takes = 50 * time.Millisecond
		assert.EqualValues(t, 4, get(time.Second, true))
		time.Sleep(4 * time.Second)
		assert.EqualValues(t, 4, get(time.Second, true), "what costs more is looked at less often")
		assert.EqualValues(t, 5, get(time.Second, false), "but not for who opens the page")
		time.Sleep(6 * time.Second)
		assert.EqualValues(t, 6, get(time.Second, true))

		takes = time.Second
		time.Sleep(time.Minute)
		for range 10 {
			go get(time.Second, false)
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 7, loads.Load(), "those who come together share it")
	})
}

// Who goes does not take the look from those who share it, and who waits is not kept longer than he wants.
func TestLookOutlivesWhoBeganIt(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var l looks
		load := func(ctx context.Context) (any, error) {
			time.Sleep(time.Second)
			return "seen", ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := l.get(ctx, "key", time.Second, false, load)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		v, err := l.get(t.Context(), "key", time.Second, false, load)
		require.NoError(t, err)
		assert.Equal(t, "seen", v)
	})
}

func TestLookThatPanics(t *testing.T) {
	var l looks
	_, err := l.get(t.Context(), "key", 0, false, func(context.Context) (any, error) { panic("a hole") })
	require.ErrorContains(t, err, "a hole")
}

func TestLookThatFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var l looks
		var loads int
		load := func(context.Context) (any, error) {
			loads++
			time.Sleep(time.Second)
			return nil, errors.New("down")
		}
		for range 2 {
			_, err := l.get(t.Context(), "key", 2*time.Second, true, load)
			require.Error(t, err)
			time.Sleep(3 * time.Second)
		}
		assert.Equal(t, 2, loads, "an error is not kept for as long as it was dear")
	})
}

func TestLooksAreDropped(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var l looks
		load := func(context.Context) (any, error) { return 1, nil }
		for _, key := range []string{"a", "b"} {
			_, err := l.get(t.Context(), key, time.Hour, false, load)
			require.NoError(t, err)
			time.Sleep(longest + 2*patience)
		}
		assert.Len(t, l.all, 1)
	})
}

func TestLooksAreBounded(t *testing.T) {
	var l looks
	for n := range 3 * maxLooks {
		_, err := l.get(t.Context(), fmt.Sprint(n), time.Hour, false, func(context.Context) (any, error) { return n, nil })
		require.NoError(t, err)
		assert.LessOrEqual(t, len(l.all), maxLooks)
	}
}

// What is kept of a look has no payloads beyond what is shown, and the engine still has its own.
func TestLooksKeepNoPayloads(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h, err := New(client, Always(Everything))
	require.NoError(t, err)
	long := strings.Repeat("x", 1<<20)
	ref := omniq.ReferArgs[omniq.Args1[string], int]("long")
	done, err := ref.On(omniq.Join1(omniq.ReferArgs[omniq.Args1[string], string]("first").With(omniq.MakeArgs1(long)))).Enqueue(t.Context(), client)
	require.NoError(t, err)
	info, err := client.Inspect(t.Context(), done.ID())
	require.NoError(t, err)
	flow, err := h.inspectFlow(t.Context(), info.Flow)
	require.NoError(t, err)
	require.NotEmpty(t, flow.Graph.Edges)
	list, err := h.list(t.Context(), omniq.Query{}, "")
	require.NoError(t, err)
	for _, info := range slices.Concat(flow.Members, list.Tasks) {
		assert.Nil(t, info.Task)
	}
	first := info.After[0].ID
	seen, err := h.inspect(t.Context(), first)
	require.NoError(t, err)
	assert.Empty(t, seen.Info.Task.Args)
	assert.Len(t, seen.Payloads[0].Text, maxShown)
	info, err = client.Inspect(t.Context(), first)
	require.NoError(t, err)
	assert.Len(t, info.Task.Args, len(long)+len(`[""]`))
}

// chain is a flow of tasks, each of which depends on those that are named.
func chain(t *testing.T, after ...[]int) []*omniq.TaskInfo {
	t.Helper()
	all := make([]*omniq.TaskInfo, len(after))
	for i := range after {
		all[i] = &omniq.TaskInfo{ID: uuid.UUID{15: byte(i), 14: byte(i >> 8)}, FuncName: fmt.Sprint("f", i%3), Status: omniq.StatusSuccess}
	}
	for i, list := range after {
		for _, dep := range list {
			all[i].After = append(all[i].After, omniq.Dependency{ID: all[dep].ID})
		}
	}
	return all
}

func TestGraph(t *testing.T) {
	g := newGraph(chain(t, nil, []int{0}, []int{0}, []int{1, 2}))
	require.Len(t, g.Nodes, 4)
	assert.Len(t, g.Edges, 4)
	at := make(map[int]int)
	for _, n := range g.Nodes {
		at[n.X]++
		assert.GreaterOrEqual(t, n.Y, 0)
		assert.LessOrEqual(t, n.X+nodeWidth, g.Width)
		assert.LessOrEqual(t, n.Y+nodeHeight, g.Height)
	}
	assert.Equal(t, map[int]int{margin: 1, margin + nodeWidth + gapX: 2, margin + 2*(nodeWidth+gapX): 1}, at)
	assert.Nil(t, newGraph(nil))
}

func TestGraphOfCircles(t *testing.T) {
	g := newGraph(chain(t, []int{1}, []int{0}, []int{2}))
	assert.Len(t, g.Nodes, 3, "what cannot be is drawn nevertheless")
}

// Many that are alike are one node; what is too large to be looked at is not drawn.
func TestGraphOfMany(t *testing.T) {
	after := make([][]int, 100)
	for i := 1; i < 99; i++ {
		after[i] = []int{0}
		after[99] = append(after[99], i)
	}
	g := newGraph(chain(t, after...))
	assert.LessOrEqual(t, len(g.Nodes), 5)
	members := 0
	for _, n := range g.Nodes {
		members += n.Count
	}
	assert.Equal(t, 100, members)
	long := make([][]int, 400)
	for i := 1; i < len(long); i++ {
		long[i] = []int{i - 1}
	}
	assert.True(t, newGraph(chain(t, long...)).Hidden)
}

// What joins as many as a flow can have is laid out as soon as anything else.
func TestGraphOfAWideJoin(t *testing.T) {
	after := make([]omniq.Dependency, omniq.MaxDependencies)
	for i := range after {
		after[i].ID = uuid.UUID{15: byte(i), 14: byte(i >> 8), 13: byte(i >> 16), 0: 1}
	}
	members := chain(t, nil, []int{0})
	members[1].After = append(members[1].After, after...)
	members[1].Task = &omniq.RawTask{After: members[1].After}
	began := time.Now()
	assert.Len(t, newGraph(members).Edges, 1)
	assert.Less(t, time.Since(began), 5*time.Second)
}

func TestSpark(t *testing.T) {
	svg := string(spark([]int{0, 5, 0}, []int{0, 0, 10}))
	assert.Contains(t, svg, "5 succeeded and 10 failed")
	assert.Contains(t, svg, `class="failure" d="M6 0h2v24h-2z"`)
	assert.Contains(t, svg, `class="success" d="M3 12h2v12h-2z"`)
}

func TestPayload(t *testing.T) {
	p := jsonPayload("", omniq.Raw(`{"b":9007199254740993,"a":"<\u0000>","":1}`))
	assert.Equal(t, payload{Text: "{\n  \"b\": 9007199254740993,\n  \"a\": \"<\\u0000>\",\n  \"\": 1\n}"}, p, "numbers and the order of keys are as they are")
	assert.Equal(t, payload{Hidden: "nothing is kept"}, jsonPayload("", nil))
	p = jsonPayload("", omniq.Raw(`"`+strings.Repeat("é", maxShown)+`"`))
	assert.LessOrEqual(t, len(p.Text), maxShown)
	assert.Equal(t, 2*maxShown+2, len(p.Text)+p.Cut)
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	assert.Less(t, len(jsonPayload("", omniq.Raw(deep)).Text), 5*maxShown)
}

// What was not written as JSON is named, by what a codec really writes, and not shown.
func TestSealedPayload(t *testing.T) {
	aes, err := codec.AESGCM(codec.JSON, codec.Key{ID: "2026", Secret: []byte("0123456789abcdef")})
	require.NoError(t, err)
	for c, want := range map[codec.Codec]string{
		aes:                    `^encrypted by key "2026" with codec json\+aesgcm, \d\d bytes$`,
		codec.Gzip(codec.JSON): `^written by codec json\+gzip, \d\d bytes$`,
		codec.Gzip(aes):        `^written by codec json\+aesgcm\+gzip, \d+ bytes$`,
	} {
		typed, err := omniq.NewTask("f", omniq.MakeArgs1("a secret"), map[string]int{"b": 1})
		require.NoError(t, err)
		task, err := typed.Encode(c)
		require.NoError(t, err)
		result := omniq.RawResult{ResultData: omniq.Raw(strings.Trim(strings.Split(string(task.Args), ",")[0], "[")), Codec: task.Codec}
		for _, p := range append(taskPayloads(&task), resultPayload(&result)) {
			assert.Regexp(t, want, p.Hidden, p.Name)
			assert.Empty(t, p.Text)
		}
	}
	odd := omniq.RawTask{Args: omniq.Raw(`{}`), Codec: "gob"}
	assert.Equal(t, "written by codec gob, 0 bytes", taskPayloads(&odd)[1].Hidden)
	_, ok := aesKey([]byte{1, 5, 'a'})
	assert.False(t, ok)
}

// What is told of an attempt adds up.
func TestSteps(t *testing.T) {
	texts := func(info omniq.TaskInfo) (all []string) {
		for _, s := range steps(&seenTask{Info: &info}) {
			all = append(all, s.Text)
		}
		return all
	}
	fault := &omniq.TaskError{Type: "error", Message: "no"}
	assert.Equal(t, []string{"pending"}, texts(omniq.TaskInfo{Status: omniq.StatusPending}))
	assert.Equal(t, []string{"1 attempt lost: the worker died, or lost the lease", "1 attempt failed, or ended with the task; the last error:", "attempt 3 runs on worker w"},
		texts(omniq.TaskInfo{Status: omniq.StatusRunning, Attempts: 3, Lost: 1, WorkerID: "w", Error: fault}))
	assert.Equal(t, []string{"2 attempts failed before the last one", "failed for good after 3 attempts"},
		texts(omniq.TaskInfo{Status: omniq.StatusFailure, Attempts: 3, Error: fault}))
	assert.Equal(t, []string{"cancelled"}, texts(omniq.TaskInfo{Status: omniq.StatusCancelled}))
	assert.Equal(t, []string{"failed for good after 0 attempts"}, texts(omniq.TaskInfo{Status: omniq.StatusFailure, Error: fault}))

	worker := "w"
	told := steps(&seenTask{Info: &omniq.TaskInfo{Status: omniq.StatusPending, Due: time.Now().Add(time.Hour)}, Events: []omniq.TaskEvent{
		{EventType: omniq.EventEnqueued}, {EventType: omniq.EventStarted, Attempt: 1, WorkerID: &worker},
		{EventType: omniq.EventRetried, Attempt: 1, Error: fault},
	}})
	var all []string
	for _, s := range told {
		all = append(all, s.Text)
	}
	assert.Equal(t, []string{"enqueued", "attempt 1 began on worker w", "attempt 1 failed, and another one follows", "is due"}, all)
	assert.Equal(t, fault, told[2].Error)
	ends := steps(&seenTask{Info: &omniq.TaskInfo{Status: omniq.StatusFailure}, Events: []omniq.TaskEvent{
		{EventType: omniq.EventCompleted, Attempt: 2}, {EventType: omniq.EventFailed, Attempt: 2}, {EventType: omniq.EventCancelled}, {EventType: omniq.EventExpired},
	}})
	assert.Equal(t, "attempt 2 succeeded", ends[0].Text)
	assert.Equal(t, "failed for good after 2 attempts", ends[1].Text)
	assert.Equal(t, []string{"cancelled", "expired"}, []string{ends[2].Class, ends[3].Class})
}
