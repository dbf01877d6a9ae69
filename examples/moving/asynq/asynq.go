// Package asynq is the code of docs/from-asynq.md, as it reads with OmniQ.
package asynq

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Email is the arguments of DeliverEmail.
type Email struct {
	UserID     int
	TemplateID string
}

// DeliverEmail sends an email, and returns the ID that the mail server gave it.
var DeliverEmail = omniq.DefineKwargs("email:deliver", func(_ context.Context, e Email) (string, error) {
	log.Printf("sending email: user %d, template %s", e.UserID, e.TemplateID)
	return fmt.Sprintf("%d-%s", e.UserID, e.TemplateID), nil
})

// Image is the arguments of ResizeImage.
type Image struct {
	SourceURL string
}

// Resizer resizes images.
type Resizer struct{ width int }

func (r *Resizer) resize(_ context.Context, i Image) error {
	log.Printf("resizing %s to %d", i.SourceURL, r.width)
	return nil
}

// ResizeImage is for those who enqueue it.
var ResizeImage = omniq.ReferKwargs[Image, omniq.Void]("image:resize", omniq.Retries(5), omniq.Timeout(20*time.Minute))

// Work works until ctx ends.
func Work(ctx context.Context, backend omniq.Backend) error {
	resizer := &Resizer{width: 640}
	worker, err := omniq.NewWorker(backend,
		omniq.Handlers(DeliverEmail, omniq.DefineKwargsVoid(ResizeImage, resizer.resize)),
		omniq.Concurrency(10),
		omniq.QueueWeights(map[string]int{"critical": 6, "default": 3, "low": 1}),
		omniq.Use(logged))
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

func logged(next omniq.HandlerFunc) omniq.HandlerFunc {
	return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
		start := time.Now()
		result, err := next(ctx, task)
		log.Printf("%s took %v: %v", task.FuncName, time.Since(start), err)
		return result, err
	}
}

// Enqueue shows what an enqueue can say.
func Enqueue(ctx context.Context, client *omniq.Client) (string, error) {
	h, err := DeliverEmail.Enqueue(ctx, client, Email{UserID: 42, TemplateID: "welcome"},
		omniq.Queue("critical"), omniq.Delay(time.Second), omniq.Retries(10), omniq.Timeout(3*time.Minute),
		omniq.ResultTTL(24*time.Hour), omniq.UniqueFor("42/welcome", time.Hour))
	if err != nil {
		return "", err
	}
	return h.Wait(ctx) // the ID, typed: no ResultWriter, no Inspector
}

// Event is the arguments of Store.
type Event struct {
	Name string
}

// Store stores events, many at once.
var Store = omniq.DefineBatch("events:store", func(_ context.Context, items []*omniq.Item[Event, omniq.Void]) error {
	for _, i := range items { // one INSERT in a real program
		if i.Args.Name == "" {
			i.Fail(omniq.Permanent(errors.New("an event without a name")))
		} else {
			i.Succeed(omniq.Void{})
		}
	}
	return nil
}, omniq.UpTo(100, time.Second))

// Declare says when the newsletter is sent.
func Declare(ctx context.Context, client *omniq.Client) error {
	_, err := omniq.Schedule(ctx, client, "newsletter", omniq.Cron("0 9 * * MON", "Europe/Berlin"),
		DeliverEmail.With(Email{UserID: 1, TemplateID: "news"}))
	return err
}

// Mend looks after a queue.
func Mend(ctx context.Context, client *omniq.Client, id uuid.UUID) error {
	info, err := client.Inspect(ctx, id)
	if err != nil {
		return err
	}
	log.Printf("%v after %d attempts: %v", info.Status, info.Attempts, info.Error)
	for failed, err := range client.List(ctx, omniq.StatusFailure, "critical") {
		if err != nil {
			return err
		}
		if err := client.Requeue(ctx, failed.ID); err != nil {
			return err
		}
	}
	return errors.Join(client.Cancel(ctx, id), client.Pause(ctx, "low"))
}
