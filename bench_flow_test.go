package omniq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// A group whose parts hand on 1 KB each, and its body: time and memory for each part stay as they are when there are more.
func BenchmarkGroup(b *testing.B) {
	text := strings.Repeat("x", 1000)
	part := omniq.DefineArgs("part", func(context.Context, omniq.Args1[int]) (string, error) { return text, nil })
	body := omniq.DefineArgs("body", func(_ context.Context, all []string) (int, error) { return len(all), nil })
	for _, n := range []int{1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			backend, client := newMemory(b)
			run(b, backend, omniq.Handlers(part, body))
			b.ReportAllocs()
			for b.Loop() {
				parts := make([]omniq.Promise[string], n)
				for i := range parts {
					parts[i] = part.With(omniq.MakeArgs1(i))
				}
				h, err := body.On(omniq.All(parts...)).Enqueue(b.Context(), client)
				require.NoError(b, err)
				got, err := h.Wait(b.Context())
				require.NoError(b, err)
				require.Equal(b, n, got)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/part")
		})
	}
}
