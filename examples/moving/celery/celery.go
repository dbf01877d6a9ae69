// Package celery is the code of docs/from-celery.md, as it reads with OmniQ.
package celery

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Pair is two numbers: positional arguments.
type Pair struct {
	X, Y int
}

// Add adds two numbers.
var Add = omniq.DefineArgs("tasks.add", func(_ context.Context, p Pair) (int, error) {
	return p.X + p.Y, nil
})

// Sum adds numbers.
var Sum = omniq.DefineArgs("tasks.sum", func(_ context.Context, numbers []int) (int, error) {
	total := 0
	for _, n := range numbers {
		total += n
	}
	return total, nil
})

// Double doubles a number.
var Double = omniq.DefineArgs("tasks.double", func(_ context.Context, n omniq.Args1[int]) (int, error) {
	return 2 * n.V1, nil
})

// Message is the arguments of Send.
type Message struct {
	To, Text string
}

// Send sends a message. It is tried again when the network fails, and not for another reason.
var Send = omniq.DefineArgsVoid("tasks.send", send, omniq.Retries(5), omniq.Timeout(30*time.Second))

func send(ctx context.Context, m Message) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.To)
	if err != nil {
		return omniq.RetryAfter(10*time.Second, err)
	}
	_, err = conn.Write([]byte(m.Text))
	if err = errors.Join(err, conn.Close()); err != nil {
		return omniq.Permanent(err)
	}
	return nil
}

// Call waits for a sum.
func Call(ctx context.Context, client *omniq.Client) (int, error) {
	h, err := Add.Enqueue(ctx, client, Pair{4, 4})
	if err != nil {
		return 0, err
	}
	return h.Wait(ctx)
}

// CallLater shows what an enqueue can say.
func CallLater(ctx context.Context, client *omniq.Client) (uuid.UUID, error) {
	h, err := Add.Enqueue(ctx, client, Pair{4, 4}, omniq.Delay(10*time.Second), omniq.TTL(time.Minute), omniq.Queue("math"), omniq.Priority(9))
	if err != nil {
		return uuid.Nil, err
	}
	return h.ID(), nil
}

// Chain doubles a sum.
func Chain() omniq.Promise[int] {
	return Double.On(omniq.Join1(Add.With(Pair{4, 4})))
}

// Chord adds ten sums, which are made side by side.
func Chord() omniq.Promise[int] {
	var sums []omniq.Promise[int]
	for i := range 10 {
		sums = append(sums, Add.With(Pair{i, i}))
	}
	return Sum.On(omniq.All(sums...))
}

// Run runs a flow, and waits for its result.
func Run(ctx context.Context, client *omniq.Client, p omniq.Promise[int]) (int, error) {
	h, err := p.Enqueue(ctx, client)
	if err != nil {
		return 0, err
	}
	return h.Wait(ctx)
}

// Declare says when the clock starts a task.
func Declare(ctx context.Context, client *omniq.Client) error {
	_, err := omniq.Schedule(ctx, client, "add-every-monday-morning", omniq.Cron("30 7 * * MON", "Europe/Berlin"),
		Add.With(Pair{16, 16}))
	return err
}

// Limit lets ten messages go in a minute, on all workers together.
func Limit(ctx context.Context, client *omniq.Client) error {
	return client.SetLimit(ctx, "messages", omniq.Limit{Rate: omniq.PerMinute(10)})
}

// Revoke ends a task, whether it runs or not.
func Revoke(ctx context.Context, client *omniq.Client, id uuid.UUID) error {
	return client.Cancel(ctx, id)
}

var copied = omniq.Progress[float64]("copied")

// Copy tells how far it is.
var Copy = omniq.DefineNoArgsVoid("tasks.copy", func(ctx context.Context) error {
	for i := range 10 {
		// ...
		if err := copied.Set(ctx, float64(i+1)/10); err != nil {
			return err
		}
	}
	return nil
})
