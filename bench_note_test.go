package omniq_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// inHandler runs f in the handler of a task.
func inHandler(b *testing.B, f func(ctx context.Context) error) {
	engine, client := newMemory(b)
	d := omniq.DefineNoArgsVoid("bench.note", f)
	run(b, engine, omniq.Handlers(d))
	h, err := d.Enqueue(b.Context(), client)
	require.NoError(b, err)
	_, err = h.Wait(b.Context())
	require.NoError(b, err)
}

// BenchmarkProgressSet is what a handler pays for telling how far it is.
func BenchmarkProgressSet(b *testing.B) {
	type large struct {
		Names  []string
		Counts map[string]int
	}
	big := omniq.Progress[large]("large")
	for name, set := range map[string]func(ctx context.Context, i int) error{
		"number": func(ctx context.Context, i int) error { return benchDone.Set(ctx, i) },
		"struct": func(ctx context.Context, i int) error { return noteCopied.Set(ctx, copied{i, "a/b/c.txt"}) },
		"two keys": func(ctx context.Context, i int) error {
			_ = benchDone.Set(ctx, i)
			return noteCopied.Set(ctx, copied{i, "a"})
		},
		"large": func(ctx context.Context, i int) error {
			return big.Set(ctx, large{[]string{"a", "b", "c"}, map[string]int{"a": i, "b": 2}})
		},
	} {
		b.Run(name, func(b *testing.B) {
			inHandler(b, func(ctx context.Context) error {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					if err := set(ctx, i); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	b.Run("goroutines", func(b *testing.B) {
		inHandler(b, func(ctx context.Context) error {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					if err := benchDone.Set(ctx, i); err != nil {
						b.Error(err)
					}
				}
			})
			return nil
		})
	})
}

var benchDone = omniq.Progress[int]("done")

// BenchmarkStreamSend is what a value costs that is sent alone, or with others.
func BenchmarkStreamSend(b *testing.B) {
	for name, chunk := range map[string]int{"alone": 1, "100 at once": 100} {
		b.Run(name, func(b *testing.B) {
			inHandler(b, func(ctx context.Context) error {
				values := make([]int, chunk)
				n := 0
				for b.Loop() {
					if err := noteRows.Send(ctx, values...); err != nil {
						return err
					}
					n += chunk
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/value")
				return nil
			})
		})
	}
}
