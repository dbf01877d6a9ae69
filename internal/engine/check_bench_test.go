package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// BenchmarkCheckTasks is what it costs an engine to check a task with a payload of some size, as the client makes one.
func BenchmarkCheckTasks(b *testing.B) {
	payload := func(size int) omniq.Raw {
		const member = `{"id":12345,"name":"somebody","tags":["a","b"],"rate":0.25,"text":"Grüße an alle"},`
		return omniq.Raw("[" + strings.Repeat(member, max(size/len(member), 0)) + "1]")
	}
	for _, size := range []int{0, 200, 2 << 10, 64 << 10} {
		args := payload(size)
		b.Run(fmt.Sprint(len(args)), func(b *testing.B) {
			tasks := []*omniq.RawTask{{
				ID: uuid.New(), FuncName: "mail.send", Queue: "mails", Args: args, Kwargs: omniq.Raw("{}"), CreatedAt: time.Now().UTC(),
				Metadata:  map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
				UniqueKey: "customer-4711", UniqueFor: time.Hour, TTL: new(time.Hour),
			}}
			b.SetBytes(int64(len(args)))
			b.ReportAllocs()
			for b.Loop() {
				if err := engine.CheckTasks(tasks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
