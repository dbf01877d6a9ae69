package omniqotel_test

import (
	"context"
	"fmt"
	"log"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	omniqotel "github.com/omniq-go/omniq/otel"
)

var Resize = omniq.DefineArgs("images.resize", func(context.Context, omniq.Args1[string]) (int, error) { return 640, nil })

// A task is traced from the span in which it is enqueued to the one of its handler.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	spans := tracetest.NewSpanRecorder() // a program has an exporter here, and sets the provider by otel.SetTracerProvider
	telemetry, err := omniqotel.New(omniqotel.TracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	if err != nil {
		log.Fatal(err)
	}
	backend := memory.New()
	client, err := omniq.NewClient(backend, omniq.UseEnqueue(telemetry.Enqueue))
	if err != nil {
		log.Fatal(err)
	}
	worker, err := omniq.NewWorker(backend, omniq.Handlers(Resize),
		omniq.Use(telemetry.Handle), omniq.UseEnqueue(telemetry.Enqueue), omniq.OnSettle(telemetry.Settled))
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()

	h, err := Resize.Enqueue(ctx, client, omniq.MakeArgs1("a.png"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := h.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	for _, s := range spans.Ended() {
		fmt.Println(s.SpanKind(), s.Name(), "links:", len(s.Links()))
	}
	// Unordered output:
	// producer send default links: 0
	// consumer process default links: 1
}
