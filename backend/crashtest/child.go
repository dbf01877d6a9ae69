package crashtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

const (
	roleVariable  = "OMNIQ_CRASHTEST_ROLE"
	placeVariable = "OMNIQ_CRASHTEST_PLACE"
	leaseVariable = "OMNIQ_CRASHTEST_LEASE" // how long a worker's lease lasts

	producer = "producer"
	worker   = "worker"

	wordReady  = "ready"  // a process can be asked to stop
	wordTry    = "try"    // a task is about to be enqueued; how often it is going to fail
	wordStored = "stored" // its enqueue was acknowledged
	wordStart  = "start"  // a handler has begun; the attempt
)

// step is the task that is worked: how often it fails before it returns its answer, and how long it takes.
var step = omniq.ReferArgs[omniq.Args2[int, time.Duration], uint64]("crashtest.step",
	omniq.Retries(1_000_000)) // kills must not use them up

// answer is what step returns for a task.
func answer(id uuid.UUID) uint64 { return binary.BigEndian.Uint64(id[8:]) * 31 }

// Child is for TestMain, before anything else: in a process that [Run], [Flows], [Schedules] or [Pill] has started it does that process's work and
// does not return.
func Child(open Open) {
	role := os.Getenv(roleVariable)
	if role == "" {
		return
	}
	go func() { // who is left alone ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say(wordReady + "\n")
	b, err := open(os.Getenv(placeVariable))
	if err == nil {
		switch role {
		case producer:
			err = produce(ctx, b)
		case pillWorker:
			err = takePills(ctx, b)
		case flowProducer:
			err = produceFlows(ctx, b)
		case flowWorker:
			err = workFlows(ctx, b)
		case scheduleWorker:
			err = workTicks(ctx, b)
		default:
			err = work(ctx, b)
		}
		err = errors.Join(err, b.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say writes lines at once, so that what was said before a kill is read.
func say(lines ...string) {
	_, _ = os.Stdout.WriteString(strings.Join(lines, ""))
}

func line(word string, id uuid.UUID, n int) string { return fmt.Sprintf("%s %v %d.\n", word, id, n) }

// produce enqueues tasks one by one from two goroutines, and in small batches from another.
func produce(ctx context.Context, b omniq.Backend) error {
	client, err := omniq.NewClient(b)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = enqueue(client, 1+i/2*rand.IntN(20), b.Capabilities().Limits)
				pause(ctx, rand.N(50*time.Millisecond))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func enqueue(client *omniq.Client, n int, laned bool) error {
	tasks := make([]omniq.Task[omniq.Args2[int, time.Duration], omniq.NoKwargs], n)
	var try, stored []string
	for i := range tasks {
		failures := max(rand.IntN(12)-9, 0)
		var err error
		tasks[i], err = step.Task(omniq.MakeArgs2(failures, rand.N(10*time.Millisecond)))
		if err != nil {
			return err
		}
		if laned {
			tasks[i].Lane = lanes[rand.IntN(len(lanes))]
		}
		try = append(try, line(wordTry, tasks[i].ID, failures))
		stored = append(stored, line(wordStored, tasks[i].ID, 0))
	}
	say(try...)
	if _, err := step.EnqueueMany(context.Background(), client, tasks); err != nil {
		return err
	}
	say(stored...)
	return nil
}

func work(ctx context.Context, b omniq.Backend) error {
	lease, err := time.ParseDuration(os.Getenv(leaseVariable))
	if err != nil {
		return err
	}
	handler := omniq.DefineArgs(step, func(ctx context.Context, a omniq.Args2[int, time.Duration]) (uint64, error) {
		info, _ := omniq.InfoFrom(ctx)
		say(line(wordStart, info.ID, info.Attempt))
		pause(ctx, a.V2)
		if info.Attempt <= a.V1 {
			return 0, errors.New("this one fails at first")
		}
		return answer(info.ID), nil
	})
	w, err := omniq.NewWorker(b, omniq.Handlers(handler), omniq.Concurrency(8), omniq.LeaseDuration(lease),
		omniq.RetryDelays(omniq.Constant(10*time.Millisecond), 0.5), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
