// Package scene fills an engine with tasks of all kinds and in all states, for tests of what shows them.
package scene

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

// Hostile is text that is more than text to whoever is careless.
const Hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}` + "\u202etxt"

// Secret is in payloads that were encrypted, and nowhere else.
const Secret = "a secret in the clear"

// Scene names what is there.
type Scene struct {
	Client *omniq.Client

	Running, Succeeded, Failed, Panicked, Retried, Pending, Orphan, Cancelled, Waiting, Keyed uuid.UUID

	Hostile, Encrypted uuid.UUID
	Flow, Broken       uuid.UUID // flows; of the second a member has failed
	Worker             string

	charges []uuid.UUID // Failed is the last of them
}

type (
	mailArgs struct{ To string }
	mailOpts struct {
		Subject string `json:"subject"`
	}
	page struct {
		URL   string `json:"url"`
		Bytes int64  `json:"bytes"`
	}
	done struct {
		Done  int `json:"done"`
		Total int `json:"total"`
	}
)

var (
	send    = omniq.Refer[mailArgs, mailOpts, page]("mail.send", omniq.Queue("mail"))
	build   = omniq.ReferArgs[omniq.Args1[int], int]("report.build", omniq.Queue("reports"))
	charge  = omniq.ReferArgs[omniq.Args1[int64], int]("invoice.charge", omniq.Queue("billing"))
	crash   = omniq.ReferNoArgs[int]("import.crash")
	flaky   = omniq.ReferNoArgs[int]("sync.flaky")
	hostile = omniq.ReferArgs[omniq.Args1[string], string](Hostile)
	fetch   = omniq.ReferArgs[omniq.Args1[string], page]("page.fetch")
	parse   = omniq.ReferArgs[page, int]("page.parse")
	index   = omniq.ReferArgs[omniq.Args2[int, int], int]("page.index")
	orphan  = omniq.ReferNoArgs[int]("nobody.knows", omniq.Queue("orphans"))
	digest  = omniq.ReferArgs[omniq.Args1[omniq.Tick], int]("digest.send")

	progress = omniq.Progress[done]("rows")
)

// Play fills the engine, and returns when all is as it is to be. Stop ends the worker, and what runs on it.
func Play(ctx context.Context, b omniq.Backend) (s *Scene, stop func(), err error) {
	client, err := omniq.NewClient(b)
	if err != nil {
		return nil, nil, err
	}
	s = &Scene{Client: client, Worker: "worker-1"}
	worker, err := omniq.NewWorker(b, s.handlers(), omniq.Queues("default", "mail", "reports", "billing"), omniq.WorkerID(s.Worker),
		omniq.Logger(slog.New(slog.DiscardHandler)), omniq.Concurrency(8), omniq.ShutdownTimeout(time.Millisecond))
	if err != nil {
		return nil, nil, err
	}
	working, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = worker.Run(working) // what it fails with, the tests do not get to see
	}()
	stop = func() {
		end()
		<-ended
	}
	err = s.enqueue(ctx, b)
	if err == nil {
		err = s.await(ctx)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

func (s *Scene) handlers() omniq.WorkerOption {
	return omniq.Handlers(
		omniq.Define(send, func(_ context.Context, a mailArgs, _ mailOpts) (page, error) {
			return page{"mailto:" + a.To, 9007199254740993}, nil
		}),
		omniq.DefineArgs(build, func(ctx context.Context, _ omniq.Args1[int]) (int, error) {
			if err := progress.Set(ctx, done{3, 10}); err != nil {
				return 0, err
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}),
		omniq.DefineArgs(charge, func(_ context.Context, a omniq.Args1[int64]) (int, error) {
			return 0, omniq.Permanent(fmt.Errorf("customer %d has no card", a.V1))
		}),
		omniq.DefineNoArgs(crash, func(context.Context) (int, error) { panic("the import has a hole") }),
		omniq.DefineNoArgs(flaky, func(context.Context) (int, error) {
			return 0, omniq.RetryAfter(time.Hour, errors.New("upstream answered 503"))
		}),
		omniq.DefineArgs(hostile, func(_ context.Context, a omniq.Args1[string]) (string, error) {
			return "", omniq.Permanent(errors.New(a.V1 + "\r\nevent: part\rdata: " + Hostile))
		}),
		omniq.DefineArgs(fetch, func(_ context.Context, a omniq.Args1[string]) (page, error) {
			if strings.HasPrefix(a.V1, "bad") {
				return page{}, omniq.Permanent(errors.New("no such host"))
			}
			return page{URL: a.V1, Bytes: 1234}, nil
		}),
		omniq.DefineArgs(parse, func(_ context.Context, p page) (int, error) { return len(p.URL), nil }),
		omniq.DefineArgs(index, func(_ context.Context, a omniq.Args2[int, int]) (int, error) { return a.V1 + a.V2, nil }),
		omniq.DefineArgs(digest, func(context.Context, omniq.Args1[omniq.Tick]) (int, error) { return 1, nil }),
	)
}

// must is the ID of a task that was enqueued.
func must[R any](h *omniq.Handle[R], err error) uuid.UUID {
	if err != nil {
		panic(err)
	}
	return h.ID()
}

// enqueue stores all there is to be.
func (s *Scene) enqueue(ctx context.Context, b omniq.Backend) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("scene: %v", v)
		}
	}()
	c := s.Client
	s.Succeeded = must(send.Enqueue(ctx, c, mailArgs{"ada@example.org"}, mailOpts{"hello"}, omniq.Metadata("tenant", "17")))
	s.Running = must(build.Enqueue(ctx, c, omniq.MakeArgs1(2026)))
	for n := range int64(5) {
		s.Failed = must(charge.Enqueue(ctx, c, omniq.MakeArgs1(9007199254740993+n), omniq.Metadata("tenant", "17"), omniq.Priority(3)))
		s.charges = append(s.charges, s.Failed)
	}
	s.Panicked = must(crash.Enqueue(ctx, c, omniq.Retries(0)))
	s.Retried = must(flaky.Enqueue(ctx, c))
	s.Pending = must(send.Enqueue(ctx, c, mailArgs{"bob@example.org"}, mailOpts{"later"}, omniq.Delay(time.Hour), omniq.Metadata("tenant", "18")))
	s.Keyed = must(orphan.Enqueue(ctx, c, omniq.Unique("one at a time")))
	s.Orphan = must(orphan.Enqueue(ctx, c))
	s.Hostile = must(hostile.Enqueue(ctx, c, omniq.MakeArgs1(Hostile), omniq.Metadata(Hostile, Hostile), omniq.Lane(Hostile)))
	s.Cancelled = must(orphan.Enqueue(ctx, c))
	page := fetch.With(omniq.MakeArgs1("https://example.org"))
	count := parse.On(page)
	done := must(index.On(omniq.Join2(count, parse.On(page))).Enqueue(ctx, c))
	bad := fetch.With(omniq.MakeArgs1("bad.example"))
	broken := must(index.On(omniq.Join2(parse.On(page), parse.On(bad))).Enqueue(ctx, c))
	waiting := must(parse.On(fetch.With(omniq.MakeArgs1("https://later.example"), omniq.Delay(time.Hour))).Enqueue(ctx, c))
	if s.Flow, err = s.flowOf(ctx, done); err != nil {
		return err
	}
	if s.Broken, err = s.flowOf(ctx, broken); err != nil {
		return err
	}
	s.Waiting = waiting
	return errors.Join(c.Cancel(ctx, s.Cancelled), s.encrypt(ctx, b), s.declare(ctx), c.Pause(ctx, "paused"),
		c.SetLimit(ctx, "mail", omniq.Limit{Running: 50, Rate: omniq.PerSecond(20), EachLane: omniq.LaneLimit{Running: 2}}))
}

func (s *Scene) flowOf(ctx context.Context, id uuid.UUID) (uuid.UUID, error) {
	info, err := s.Client.Inspect(ctx, id)
	if err != nil {
		return uuid.Nil, err
	}
	return info.Flow, nil
}

// encrypt enqueues a task that nobody can read.
func (s *Scene) encrypt(ctx context.Context, b omniq.Backend) error {
	aes, err := codec.AESGCM(codec.JSON, codec.Key{ID: "2026", Secret: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		return err
	}
	client, err := omniq.NewClient(b, omniq.Codecs(aes))
	if err != nil {
		return err
	}
	s.Encrypted = must(send.Enqueue(ctx, client, mailArgs{Secret}, mailOpts{Secret}, omniq.Queue("orphans")))
	return nil
}

// declare makes two schedules, one of them paused.
func (s *Scene) declare(ctx context.Context) error {
	call := digest.On(omniq.Join1(omniq.AtTick()))
	if _, err := omniq.Schedule(ctx, s.Client, "digest.daily", omniq.Cron("0 7 * * MON-FRI", "Europe/Berlin"), call); err != nil {
		return err
	}
	paused, err := omniq.Schedule(ctx, s.Client, "a/b c.%2F"+Hostile[:60], omniq.Every(time.Hour), call)
	if err != nil {
		return err
	}
	return paused.Pause(ctx, Hostile)
}

// await waits until each task is in the state that it is to be in, and the worker has been heard of.
func (s *Scene) await(ctx context.Context) error {
	states := map[uuid.UUID]omniq.Status{
		s.Succeeded: omniq.StatusSuccess, s.Running: omniq.StatusRunning, s.Panicked: omniq.StatusFailure,
		s.Hostile: omniq.StatusFailure, s.Waiting: omniq.StatusWaiting,
	}
	for _, id := range s.charges {
		states[id] = omniq.StatusFailure
	}
	for id, want := range states {
		err := poll(ctx, func() (bool, error) {
			info, err := s.Client.Inspect(ctx, id)
			return err == nil && info.Status == want && (id != s.Running || info.Progress != nil), err
		})
		if err != nil {
			return fmt.Errorf("scene: task %v is not %v: %w", id, want, err)
		}
	}
	for _, id := range []uuid.UUID{s.Flow, s.Broken} {
		if _, err := s.Client.Flow(id).Wait(ctx); err != nil {
			return err
		}
	}
	err := poll(ctx, func() (bool, error) {
		info, err := s.Client.Inspect(ctx, s.Retried)
		return err == nil && info.Error != nil, err
	})
	if err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		workers, err := s.Client.Workers(ctx)
		return len(workers) > 0, err
	})
}

// poll asks until something is so.
func poll(ctx context.Context, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
