package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
)

// A task from end to end: its function, a worker that runs it, and a caller who waits for its result.
func Example() {
	type Args struct {
		Path  string
		Width int
	}
	type Opts struct {
		Quality int `json:"quality,omitempty"`
	}
	type Thumb struct {
		Path string `json:"path"`
	}
	resize := omniq.Define("images.resize", func(ctx context.Context, a Args, o Opts) (Thumb, error) {
		return Thumb{fmt.Sprintf("%s-%d-%d", a.Path, a.Width, o.Quality)}, nil
	})

	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	worker, err := omniq.NewWorker(backend, omniq.Handlers(resize), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- worker.Run(ctx) }()

	h, err := resize.Enqueue(ctx, client, Args{"a.png", 640}, Opts{Quality: 80}, omniq.TTL(time.Hour))
	if err != nil {
		panic(err)
	}
	thumb, err := h.Wait(ctx) // a Thumb
	fmt.Println(thumb.Path, err)

	stop()
	fmt.Println(<-done, backend.Close())
	// Output:
	// a.png-640-80 <nil>
	// <nil> <nil>
}

// demo is what the examples below have in common: a client, and a worker that runs until stop is called.
func demo(opts ...omniq.WorkerOption) (ctx context.Context, client *omniq.Client, stop func()) {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	return context.Background(), client, work(backend, opts...)
}

// work starts a worker.
func work(backend omniq.Backend, opts ...omniq.WorkerOption) (stop func()) {
	worker, err := omniq.NewWorker(backend, append(opts, omniq.Logger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- worker.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			panic(err)
		}
		if err := backend.Close(); err != nil {
			panic(err)
		}
	}
}

// show prints what became of a task.
func show[R any](h *omniq.Handle[R], err error) {
	if err != nil {
		panic(err)
	}
	result, err := h.Wait(context.Background())
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Printf("%v\n", result)
}

func ExampleDefine() {
	type Options struct {
		Upper bool `json:"upper"`
	}
	greet := omniq.Define("greet", func(ctx context.Context, args omniq.Args2[string, int], o Options) (string, error) {
		text := strings.Repeat("hello "+args.V1+" ", args.V2)
		if o.Upper {
			text = strings.ToUpper(text)
		}
		return strings.TrimSpace(text), nil
	})
	ctx, client, stop := demo(omniq.Handlers(greet))
	defer stop()
	show(greet.Enqueue(ctx, client, omniq.MakeArgs2("you", 2), Options{Upper: true}))
	// Output: HELLO YOU HELLO YOU
}

func ExampleDefineVoid() {
	type Mail struct{ To, Subject string }
	type Options struct{ Copies int }
	send := omniq.DefineVoid("mail.send", func(ctx context.Context, m Mail, o Options) error {
		fmt.Println("to", m.To+":", m.Subject, o.Copies)
		return nil
	})
	ctx, client, stop := demo(omniq.Handlers(send))
	defer stop()
	h, err := send.Enqueue(ctx, client, Mail{"you@example.com", "hello"}, Options{Copies: 3})
	if err != nil {
		panic(err)
	}
	_, err = h.Wait(ctx)
	fmt.Println(err)
	// Output:
	// to you@example.com: hello 3
	// <nil>
}

func ExampleDefineArgs() {
	add := omniq.DefineArgs("add", func(ctx context.Context, numbers []int) (sum int, err error) {
		for _, n := range numbers {
			sum += n
		}
		return sum, nil
	})
	ctx, client, stop := demo(omniq.Handlers(add))
	defer stop()
	show(add.Enqueue(ctx, client, []int{1, 2, 39}))
	// Output: 42
}

func ExampleDefineKwargs() {
	type Query struct {
		Text  string `json:"text"`
		Limit int    `json:"limit,omitempty"`
	}
	search := omniq.DefineKwargs("search", func(ctx context.Context, q Query) ([]string, error) {
		return []string{q.Text, fmt.Sprint(q.Limit)}, nil
	})
	ctx, client, stop := demo(omniq.Handlers(search))
	defer stop()
	show(search.Enqueue(ctx, client, Query{Text: "gopher"}))
	// Output: [gopher 0]
}

func ExampleDefineNoArgs() {
	answer := omniq.DefineNoArgs("answer", func(ctx context.Context) (int, error) { return 42, nil })
	ctx, client, stop := demo(omniq.Handlers(answer))
	defer stop()
	show(answer.Enqueue(ctx, client))
	// Output: 42
}

// Producers need the name and the types of a task, which a package of their own can hold, and not its function.
func ExampleRefer() {
	// In a package that both sides import:
	type Args struct{ Path string }
	type Opts struct{ Deep bool }
	var Size = omniq.Refer[Args, Opts, int]("files.size", omniq.Queue("files"), omniq.Retries(5))

	// In the worker's program. A function that does not fit does not compile.
	ctx, client, stop := demo(
		omniq.Queues("files"),
		omniq.Handlers(omniq.Define(Size, func(ctx context.Context, a Args, o Opts) (int, error) { return len(a.Path), nil })),
	)
	defer stop()

	// In the producer's.
	show(Size.Enqueue(ctx, client, Args{"/etc/passwd"}, Opts{Deep: true}))
	// Output: 11
}

func ExampleReference_EnqueueMany() {
	double := omniq.Define("double", func(ctx context.Context, a omniq.Args1[int], _ omniq.NoKwargs) (int, error) {
		return 2 * a.V1, nil
	})
	ctx, client, stop := demo(omniq.Handlers(double))
	defer stop()
	var tasks []omniq.Task[omniq.Args1[int], omniq.NoKwargs]
	for i := range 3 {
		task, err := double.Task(omniq.MakeArgs1(i), omniq.NoKwargs{}, omniq.Priority(i))
		if err != nil {
			panic(err)
		}
		tasks = append(tasks, task)
	}
	handles, err := double.EnqueueMany(ctx, client, tasks)
	if err != nil {
		panic(err)
	}
	for _, h := range handles {
		show(h, nil)
	}
	// Output:
	// 0
	// 2
	// 4
}

func ExampleHandle_Wait() {
	pay := omniq.DefineArgsVoid("pay", func(ctx context.Context, amount omniq.Args1[int]) error {
		return omniq.Permanent(errors.New("no money"))
	})
	ctx, client, stop := demo(omniq.Handlers(pay))
	defer stop()
	h, err := pay.Enqueue(ctx, client, omniq.MakeArgs1(100))
	if err != nil {
		panic(err)
	}
	_, err = h.Wait(ctx)
	var failed *omniq.TaskError
	fmt.Println(errors.As(err, &failed), failed.Message, failed.Retryable)
	// Output: true no money false
}

// The ID is all that is needed to get at a result again, later or in another process.
func ExampleReference_Attach() {
	answer := omniq.DefineNoArgs("answer", func(ctx context.Context) (int, error) { return 42, nil })
	ctx, client, stop := demo(omniq.Handlers(answer))
	defer stop()
	h, err := answer.Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	id := h.ID()

	show(answer.Attach(client, id), nil)
	// Output: 42
}

func ExampleWorker_Run() {
	backend := memory.New()
	started := make(chan struct{})
	slow := omniq.DefineNoArgs("slow", func(ctx context.Context) (string, error) {
		close(started)
		<-ctx.Done() // the shutdown timeout is over
		return "saved what there was", nil
	})
	worker, err := omniq.NewWorker(backend,
		omniq.Handlers(slow),
		omniq.Concurrency(4),
		omniq.ShutdownTimeout(10*time.Millisecond),
		omniq.Logger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background()) // or signal.NotifyContext
	done := make(chan error)
	go func() { done <- worker.Run(ctx) }()

	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	h, err := slow.Enqueue(ctx, client)
	if err != nil {
		panic(err)
	}
	<-started
	stop()
	fmt.Println(<-done)
	show(h, nil)
	if err := backend.Close(); err != nil {
		panic(err)
	}
	// Output:
	// <nil>
	// saved what there was
}

func ExampleUse() {
	trace := func(next omniq.HandlerFunc) omniq.HandlerFunc {
		return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
			fmt.Println("begin", task.FuncName, string(task.Args), task.Metadata["tenant"])
			result, err := next(ctx, task)
			fmt.Println("end", string(result.ResultData), err)
			return result, err
		}
	}
	double := omniq.DefineArgs("double", func(ctx context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
	ctx, client, stop := demo(omniq.Handlers(double), omniq.Use(trace))
	defer stop()
	show(double.Enqueue(ctx, client, omniq.MakeArgs1(21), omniq.Metadata("tenant", "blue")))
	// Output:
	// begin double [21] blue
	// end 42 <nil>
	// 42
}

func ExamplePermanent() {
	find := omniq.DefineArgs("find", func(ctx context.Context, name omniq.Args1[string]) (int, error) {
		fmt.Println("attempt")
		return 0, omniq.Permanent(fmt.Errorf("there is no %q", name.V1))
	})
	ctx, client, stop := demo(omniq.Handlers(find))
	defer stop()
	show(find.Enqueue(ctx, client, omniq.MakeArgs1("unicorn")))
	// Output:
	// attempt
	// error: there is no "unicorn"
}

func ExampleRetryAfter() {
	attempts := 0
	call := omniq.DefineNoArgs("call", func(ctx context.Context) (string, error) {
		if attempts++; attempts < 3 {
			return "", omniq.RetryAfter(time.Millisecond, errors.New("too many requests"))
		}
		return fmt.Sprint("answer of attempt ", attempts), nil
	})
	ctx, client, stop := demo(omniq.Handlers(call))
	defer stop()
	show(call.Enqueue(ctx, client))
	// Output: answer of attempt 3
}

func ExampleSnooze() {
	looked := 0
	pick := omniq.DefineNoArgs("pick", func(ctx context.Context) (string, error) {
		if looked++; looked < 10 {
			return "", omniq.Snooze(time.Millisecond) // the file is not there yet
		}
		info, _ := omniq.InfoFrom(ctx)
		return fmt.Sprint("attempt ", info.Attempt), nil
	})
	ctx, client, stop := demo(omniq.Handlers(pick))
	defer stop()
	show(pick.Enqueue(ctx, client, omniq.Retries(0)))
	// Output: attempt 1
}

func ExampleCodecs() {
	backend := memory.New()
	zipped := omniq.Codecs(codec.Gzip(codec.JSON))
	count := omniq.DefineArgs("count", func(ctx context.Context, text omniq.Args1[string]) (int, error) {
		return len(text.V1), nil
	})
	client, err := omniq.NewClient(backend, zipped)
	if err != nil {
		panic(err)
	}
	stop := work(backend, omniq.Handlers(count), zipped)
	defer stop()
	show(count.Enqueue(context.Background(), client, omniq.MakeArgs1(strings.Repeat("long ", 1000))))
	// Output: 5000
}

func ExampleInfoFrom() {
	who := omniq.DefineNoArgs("who", func(ctx context.Context) (string, error) {
		info, _ := omniq.InfoFrom(ctx)
		return fmt.Sprintf("%s %v, attempt %d of %d", info.FuncName, info.ID, info.Attempt, info.MaxAttempts), nil
	})
	ctx, client, stop := demo(omniq.Handlers(who))
	defer stop()
	show(who.Enqueue(ctx, client, omniq.ID(uuid.MustParse("f47ac10b-58cc-4372-a567-0e02b2c3d479")), omniq.Retries(2)))
	// Output: who f47ac10b-58cc-4372-a567-0e02b2c3d479, attempt 1 of 3
}
