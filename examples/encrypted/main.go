// Command encrypted keeps what tasks carry from whoever can read the queue: payloads are encrypted with AES-GCM, and the
// key changes while tasks are queued.
//
//	go run ./examples/encrypted
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
)

// Patient is what nobody else is to read.
type Patient struct{ Name string }

var greet = omniq.DefineArgs("patient.greet", func(_ context.Context, p Patient) (string, error) {
	return "Good morning, " + p.Name, nil
})

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "encrypted:", err)
		os.Exit(1)
	}
}

func newKey(id string) codec.Key {
	secret := make([]byte, 32) // a program takes it from where its secrets are
	_, _ = rand.Read(secret)   // never fails
	return codec.Key{ID: id, Secret: secret}
}

func run(ctx context.Context, stdout io.Writer) error {
	old, next := newKey("2025"), newKey("2026")
	before, err := codec.AESGCM(codec.JSON, old)
	if err != nil {
		return err
	}
	after, err := codec.AESGCM(codec.JSON, next, old) // writes with the new key, reads both
	if err != nil {
		return err
	}

	backend := memory.New()
	client, err := omniq.NewClient(backend, omniq.Codecs(before))
	if err != nil {
		return err
	}
	h, err := greet.Enqueue(ctx, client, Patient{"Ada"})
	if err != nil {
		return err
	}
	info, err := client.Inspect(ctx, h.ID())
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "the queue holds %d bytes of %s\n", len(info.Task.Args), info.Task.Codec)

	worker, err := omniq.NewWorker(backend, omniq.Codecs(after), omniq.Handlers(greet))
	if err != nil {
		return err
	}
	reader, err := omniq.NewClient(backend, omniq.Codecs(after)) // the result is written with the new key
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- worker.Run(working) }()
	text, err := greet.Attach(reader, h.ID()).Wait(ctx)
	stop()
	if err := errors.Join(err, <-done, backend.Close()); err != nil {
		return err
	}
	fmt.Fprintln(stdout, text)
	return nil
}
