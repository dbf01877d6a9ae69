package redis_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
)

// batch returns n tasks with a payload of about 180 bytes.
func batch(n int, change ...func(*omniq.RawTask)) []*omniq.RawTask {
	tasks := make([]*omniq.RawTask, n)
	for i := range tasks {
		tasks[i] = &omniq.RawTask{
			ID: uuid.New(), FuncName: "images.resize", CreatedAt: time.Now().UTC().Truncate(time.Microsecond), Kwargs: omniq.Raw(`{}`),
			Args: omniq.Raw(`["` + string(make64()) + string(make64()) + `",` + strconv.Itoa(i) + `]`),
		}
		for _, f := range change {
			f(tasks[i])
		}
	}
	return tasks
}

func make64() []byte {
	b := make([]byte, 80)
	for i := range b {
		b[i] = 'a'
	}
	return b
}

var benchKinds = []struct {
	name string
	opts []redis.Option
}{{"plain", nil}, {"events", []redis.Option{redis.WithEvents(time.Hour)}}}

func BenchmarkEnqueue(b *testing.B) {
	for _, kind := range benchKinds {
		for _, size := range []int{1, 100} {
			b.Run(kind.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				backend := open(b, kind.opts...)
				for b.Loop() {
					_, err := backend.Enqueue(b.Context(), batch(size))
					require.NoError(b, err)
				}
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "tasks/s")
			})
		}
	}
}

func BenchmarkWork(b *testing.B) {
	for _, kind := range benchKinds {
		for _, size := range []int{1, 100} {
			b.Run(kind.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				backend := open(b, kind.opts...)
				work(b, backend, size)
			})
		}
	}
}

func work(b *testing.B, backend omniq.Backend, size int, change ...func(*omniq.RawTask)) {
	b.Helper()
	for n := 0; n < b.N*size; n += 1000 {
		_, err := backend.Enqueue(b.Context(), batch(1000, change...))
		require.NoError(b, err)
	}
	b.ResetTimer()
	for range b.N {
		leases, err := backend.Lease(b.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: size, Duration: time.Minute, WorkerID: "w"})
		require.NoError(b, err)
		settle(b, backend, leases)
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "tasks/s")
}

func settle(b testing.TB, backend omniq.Backend, leases []omniq.Lease) {
	b.Helper()
	settlements := make([]omniq.Settlement, len(leases))
	for i, l := range leases {
		settlements[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
			TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(`1`), Timestamp: time.Now().UTC().Truncate(time.Microsecond),
			TTL: new(time.Hour), Attempts: l.Attempt,
		}}
	}
	errs, err := backend.Settle(b.Context(), settlements)
	require.NoError(b, err)
	require.Nil(b, errs)
}
