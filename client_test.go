package omniq_test

import (
	"context"
	"errors"
	"sync"
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

// rawTask returns a task that is valid, for tests to change.
func rawTask() omniq.RawTask {
	return omniq.RawTask{ID: uuid.New(), FuncName: "raw", Args: omniq.Raw("[1]"), CreatedAt: time.Now()}
}

// namedCodec is JSON under any name.
type namedCodec struct {
	codec.Codec
	name string
}

func (c namedCodec) Name() string { return c.name }

func TestNewClientRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		backend omniq.Backend
		opts    []omniq.ClientOption
		want    string
	}{
		"no backend":      {nil, nil, "without a backend"},
		"nil codec":       {memory.New(), []omniq.ClientOption{omniq.Codecs(codec.JSON, nil)}, "codec 1 is nil"},
		"codec twice":     {memory.New(), []omniq.ClientOption{omniq.Codecs(codec.JSON, codec.StdJSON)}, `two codecs are named "json"`},
		"name of a codec": {memory.New(), []omniq.ClientOption{omniq.Codecs(namedCodec{codec.JSON, "My Codec"})}, "My Codec"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := omniq.NewClient(c.backend, c.opts...)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestRawTasksEndToEnd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		echo := omniq.Define("raw", func(_ context.Context, args, kwargs omniq.Raw) (omniq.Raw, error) {
			return omniq.Raw(`{"args": ` + string(args) + `, "kwargs": ` + string(kwargs) + `}`), nil
		})
		run(t, b, omniq.Handlers(echo))
		task, bare := rawTask(), rawTask()
		task.Args, task.Kwargs, task.Codec = omniq.Raw(` [ 1, "a" ] `), omniq.Raw(`{ "k": null }`), "json"
		bare.Args = nil
		require.NoError(t, client.Enqueue(t.Context(), task, bare))
		r, err := client.Wait(t.Context(), task.ID)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusSuccess, r.Status)
		assert.Equal(t, `{"args":[1,"a"],"kwargs":{"k":null}}`, string(r.ResultData), "compact")
		assert.Equal(t, 1, r.Attempts)
		assert.Equal(t, omniq.DefaultResultTTL, *r.TTL)
		r, err = client.Wait(t.Context(), bare.ID)
		require.NoError(t, err)
		assert.Equal(t, `{"args":[],"kwargs":{}}`, string(r.ResultData))
		again, err := client.Result(t.Context(), bare.ID)
		require.NoError(t, err)
		assert.Equal(t, r, again)
	})
}

func TestEnqueueRefuses(t *testing.T) {
	for name, change := range map[string]func(*omniq.RawTask){
		"no ID":          func(t *omniq.RawTask) { t.ID = uuid.Nil },
		"no name":        func(t *omniq.RawTask) { t.FuncName = "" },
		"no time":        func(t *omniq.RawTask) { t.CreatedAt = time.Time{} },
		"args no array":  func(t *omniq.RawTask) { t.Args = omniq.Raw(`{}`) },
		"args no JSON":   func(t *omniq.RawTask) { t.Args = omniq.Raw(`[1`) },
		"kwargs":         func(t *omniq.RawTask) { t.Kwargs = omniq.Raw(`[]`) },
		"opaque payload": func(t *omniq.RawTask) { t.Codec = "msgpack" },
		"codec name":     func(t *omniq.RawTask) { t.Codec = "Message Pack" },
	} {
		t.Run(name, func(t *testing.T) {
			_, client := newMemory(t)
			fine, bad := rawTask(), rawTask()
			change(&bad)
			require.ErrorIs(t, client.Enqueue(t.Context(), fine, bad), omniq.ErrInvalid)
			_, err := client.Result(t.Context(), fine.ID)
			require.ErrorIs(t, err, omniq.ErrNotFound, "all or none")
		})
	}
}

func TestEnqueueOfAnotherCodecsPayload(t *testing.T) {
	_, client := newMemory(t)
	task := rawTask()
	task.Args, task.Codec = omniq.Raw(`["AQI=","AwQ="]`), "msgpack"
	require.NoError(t, client.Enqueue(t.Context(), task))
	require.NoError(t, client.Enqueue(t.Context()), "no tasks are fine")
}

func TestEnqueueWithAContextThatHasEnded(t *testing.T) {
	_, client := newMemory(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	task := rawTask()
	err := client.Enqueue(ctx, task)
	require.ErrorIs(t, err, context.Canceled)
	_, err = client.Result(t.Context(), task.ID)
	require.ErrorIs(t, err, omniq.ErrNotFound)
	_, err = client.Wait(t.Context(), task.ID)
	require.ErrorIs(t, err, omniq.ErrNotFound)
	assert.ErrorContains(t, err, task.ID.String())
}

func TestDuplicates(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineArgs("twice", func(_ context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
		id := uuid.New()
		first, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(1), omniq.ID(id))
		require.NoError(t, err)
		second, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(2), omniq.ID(id))
		require.ErrorIs(t, err, omniq.ErrDuplicate)
		require.NotNil(t, second, "the handle of the first")
		run(t, b, omniq.Handlers(d))
		for _, h := range []*omniq.Handle[int]{first, second} {
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 2, got)
		}
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1(3), omniq.ID(id))
		require.ErrorIs(t, err, omniq.ErrDuplicate, "also when it is done")
		time.Sleep(omniq.DefaultResultTTL)
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1(3), omniq.ID(id))
		require.NoError(t, err, "until its result is gone")
	})
}

// While an enqueue is in flight others gather, and go together, where the engine is not in the process.
func TestEnqueuesGather(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, _ := newMemory(t)
		var sizes []int
		m := &meddler{Backend: b, shared: true}
		m.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			sizes = append(sizes, len(tasks))
			time.Sleep(time.Second)
			return b.Enqueue(ctx, tasks)
		}
		client := newClient(t, m)
		same := rawTask()
		var wg sync.WaitGroup
		var mu sync.Mutex
		duplicates := 0
		for i := range 20 {
			wg.Go(func() {
				task := rawTask()
				if i%2 == 0 {
					task = same
				}
				if err := client.Enqueue(context.Background(), task); err != nil {
					var e *omniq.DuplicateError
					if assert.ErrorAs(t, err, &e) {
						assert.Equal(t, []omniq.Duplicate{{ID: same.ID, Holder: same.ID}}, e.Duplicates)
					}
					mu.Lock()
					duplicates++
					mu.Unlock()
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		assert.Equal(t, []int{1, 19}, sizes)
		assert.Equal(t, 9, duplicates, "each caller hears of its own")
	})
}

func TestTroubleWithEnqueue(t *testing.T) {
	b, _ := newMemory(t)
	m := &meddler{Backend: b}
	client := newClient(t, m)
	m.enqueue = func(context.Context, []*omniq.RawTask) ([]error, error) { return nil, errOops }
	h, err := omniq.ReferNoArgs[int]("any").Enqueue(t.Context(), client)
	require.ErrorIs(t, err, errOops)
	assert.Nil(t, h)
	handles, err := omniq.ReferNoArgs[int]("any").EnqueueMany(t.Context(), client, someTasks(t, 2))
	require.ErrorIs(t, err, errOops)
	assert.Nil(t, handles)

	odd := errors.New("odd")
	m.enqueue = func(context.Context, []*omniq.RawTask) ([]error, error) { return []error{nil, odd}, nil }
	_, err = omniq.ReferNoArgs[int]("any").EnqueueMany(t.Context(), client, someTasks(t, 2))
	require.ErrorIs(t, err, odd)
}

func someTasks(t *testing.T, n int) []omniq.Task[omniq.NoArgs, omniq.NoKwargs] {
	tasks := make([]omniq.Task[omniq.NoArgs, omniq.NoKwargs], n)
	for i := range tasks {
		var err error
		tasks[i], err = omniq.ReferNoArgs[int]("any").Task()
		require.NoError(t, err)
	}
	return tasks
}

// With an argument that the codec cannot write nothing is stored, and the error says which one it is.
func TestEnqueueOfAnArgumentThatCannotBeEncoded(t *testing.T) {
	_, client := newMemory(t)
	d := omniq.ReferArgs[omniq.Args2[string, float64], int]("any")
	h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs2("a", inf()))
	require.Error(t, err)
	assert.ErrorContains(t, err, "V2")
	assert.Nil(t, h)
}
