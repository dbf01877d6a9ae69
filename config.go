package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultEventRetention is how long events are kept where a [Config] only says that they are: one day.
const DefaultEventRetention = 24 * time.Hour

// Config is what a program leaves to those who run it. It comes from code, as a change of [DefaultConfig], or from the
// environment by [ConfigFromEnv]; its methods make the backend, and options for clients and workers, of it. BackendURL may
// have a password: it is in no error, and not in what fmt and log/slog show of a Config.
type Config struct {
	BackendURL      string           // OMNIQ_BACKEND_URL: the scheme of an Engine, a colon, and what that engine wants
	Queues          []string         // OMNIQ_QUEUES: what workers take tasks from, separated by commas; see Queues
	Concurrency     int              // OMNIQ_CONCURRENCY: how many handlers run at once in a worker; see Concurrency
	TaskTTL         time.Duration    // OMNIQ_TASK_TTL: for tasks that do not say; see TTL. 0 is for ever
	ResultTTL       time.Duration    // OMNIQ_RESULT_TTL: for tasks that do not say; see ResultTTL
	TaskTimeout     time.Duration    // OMNIQ_TASK_TIMEOUT: for tasks that do not say; see Timeout. 0 is no bound
	RetryAttempts   int              // OMNIQ_RETRY_ATTEMPTS: how often a failed task is tried again; see Retries
	RetryDelay      time.Duration    // OMNIQ_RETRY_DELAY: before the first retry, doubled for each further one
	ShutdownTimeout time.Duration    // OMNIQ_SHUTDOWN_TIMEOUT: see ShutdownTimeout
	Limits          map[string]Limit // OMNIQ_LIMITS: of queues, as in mail 50 20/s each 2, reports 4; Open sets them; others stay
	Schedules       bool             // OMNIQ_SCHEDULES: whether workers serve schedules; see WithoutSchedules
	Events          time.Duration    // OMNIQ_EVENTS: how long events are kept, or true for a day; 0 or false keeps none
	LogLevel        slog.Level       // OMNIQ_LOG_LEVEL: DEBUG, INFO, WARN or ERROR
}

// DefaultConfig is what the library does by itself, in memory: one queue, 16 handlers at once, 3 retries from 1 s, results
// for an hour, 30 s to shut down, schedules are served, no events, and logs from level INFO.
func DefaultConfig() Config {
	return Config{
		BackendURL: "memory:", Queues: []string{DefaultQueue}, Concurrency: DefaultConcurrency, ResultTTL: DefaultResultTTL,
		RetryAttempts: DefaultRetries, RetryDelay: DefaultRetryDelay, ShutdownTimeout: DefaultShutdownTimeout,
		Schedules: true, LogLevel: slog.LevelInfo,
	}
}

// ConfigFromEnv is [DefaultConfig] with what the environment says. Durations are written as Go writes them: 90s, 1h30m. A
// variable that is empty counts as not set. The error, in which errors.Is finds [ErrInvalid], names each variable with
// an invalid value, and what would be right.
func ConfigFromEnv() (Config, error) {
	c := DefaultConfig()
	var errs []error
	read := func(name string, parse func(string) error) {
		s := os.Getenv(name)
		if s == "" {
			return
		}
		if err := parse(s); err != nil {
			errs = append(errs, invalid("%s is %q, want %v", name, s, err))
		}
	}
	duration := func(to *time.Duration) func(string) error {
		return func(s string) error {
			d, err := time.ParseDuration(s)
			if err != nil {
				return errors.New("a duration like 90s or 1h30m")
			}
			*to = d
			return nil
		}
	}
	number := func(to *int) func(string) error {
		return func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil {
				return errors.New("a whole number")
			}
			*to = n
			return nil
		}
	}
	read("OMNIQ_BACKEND_URL", func(s string) error { c.BackendURL = s; return nil })
	read("OMNIQ_QUEUES", func(s string) error {
		c.Queues = strings.Split(s, ",")
		for i, q := range c.Queues {
			c.Queues[i] = strings.TrimSpace(q)
		}
		return nil
	})
	read("OMNIQ_CONCURRENCY", number(&c.Concurrency))
	read("OMNIQ_TASK_TTL", duration(&c.TaskTTL))
	read("OMNIQ_RESULT_TTL", duration(&c.ResultTTL))
	read("OMNIQ_TASK_TIMEOUT", duration(&c.TaskTimeout))
	read("OMNIQ_RETRY_ATTEMPTS", number(&c.RetryAttempts))
	read("OMNIQ_RETRY_DELAY", duration(&c.RetryDelay))
	read("OMNIQ_SHUTDOWN_TIMEOUT", duration(&c.ShutdownTimeout))
	read("OMNIQ_LIMITS", func(s string) error {
		c.Limits = make(map[string]Limit)
		for entry := range strings.SplitSeq(s, ",") {
			queue, text, _ := strings.Cut(strings.TrimSpace(entry), " ")
			limit, err := parseLimit(text)
			if err != nil {
				return fmt.Errorf("limits of queues, like mail 50 20/s each 2 100/m, reports 4: of queue %.100q: %w", queue, err)
			}
			if _, twice := c.Limits[queue]; twice {
				return fmt.Errorf("one limit of queue %.100q", queue)
			}
			c.Limits[queue] = limit
		}
		return nil
	})
	read("OMNIQ_SCHEDULES", func(s string) error {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("true or false")
		}
		c.Schedules = on
		return nil
	})
	read("OMNIQ_EVENTS", func(s string) error {
		if on, err := strconv.ParseBool(s); err == nil {
			c.Events = 0
			if on {
				c.Events = DefaultEventRetention
			}
			return nil
		}
		if duration(&c.Events)(s) != nil {
			return errors.New("true, false or how long to keep them, like 24h")
		}
		return nil
	})
	read("OMNIQ_LOG_LEVEL", func(s string) error {
		if c.LogLevel.UnmarshalText([]byte(s)) != nil {
			return errors.New("DEBUG, INFO, WARN or ERROR")
		}
		return nil
	})
	if err := c.Validate(); err != nil {
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

// Validate returns an error that names each field with an invalid value, and its variable. errors.Is finds [ErrInvalid] in
// it. What Open needs of BackendURL after the scheme only the engine knows.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, field, variable, format string, args ...any) {
		if !ok {
			errs = append(errs, invalid("%s (%s) is "+format, append([]any{field, variable}, args...)...))
		}
	}
	_, ok := schemeOf(c.BackendURL)
	check(ok, "BackendURL", "OMNIQ_BACKEND_URL", // which is not shown: it may have a password
		"without a scheme, want one in lower case, a colon and what the engine wants, like memory: or sqlite:path")
	if err := Queues(c.Queues...).applyWorker(new(Worker)); err != nil {
		errs = append(errs, fmt.Errorf("%w: Queues (OMNIQ_QUEUES) is %q: %w", ErrInvalid, c.Queues, err))
	}
	check(c.Concurrency >= 1 && c.Concurrency <= MaxConcurrency, "Concurrency", "OMNIQ_CONCURRENCY", "%d, want 1 to %d",
		c.Concurrency, MaxConcurrency)
	check(c.TaskTTL == 0 || c.TaskTTL >= time.Microsecond, "TaskTTL", "OMNIQ_TASK_TTL", "%v, want at least 1µs, or 0 for ever",
		c.TaskTTL)
	check(c.ResultTTL >= 0, "ResultTTL", "OMNIQ_RESULT_TTL", "%v, want at least 0", c.ResultTTL)
	check(c.TaskTimeout == 0 || c.TaskTimeout >= time.Microsecond, "TaskTimeout", "OMNIQ_TASK_TIMEOUT",
		"%v, want at least 1µs, or 0 for no bound", c.TaskTimeout)
	check(c.RetryAttempts >= 0, "RetryAttempts", "OMNIQ_RETRY_ATTEMPTS", "%d, want at least 0", c.RetryAttempts)
	check(c.RetryDelay >= 0, "RetryDelay", "OMNIQ_RETRY_DELAY", "%v, want at least 0", c.RetryDelay)
	check(c.ShutdownTimeout >= 0, "ShutdownTimeout", "OMNIQ_SHUTDOWN_TIMEOUT", "%v, want at least 0", c.ShutdownTimeout)
	for queue, limit := range c.Limits {
		err := CheckQueue(queue)
		if err == nil {
			err = limit.Validate()
		}
		check(err == nil, "Limits", "OMNIQ_LIMITS", "wrong for queue %.100q: %v", queue, err)
	}
	check(c.Events >= 0, "Events", "OMNIQ_EVENTS", "%v, want at least 0", c.Events)
	return errors.Join(errs...)
}

// Engine opens one kind of backend. Each engine's package has one, named Engine.
type Engine struct {
	Schemes []string // what stands before the colon of the URLs that it opens, in lower case
	// Open opens the backend of the URL. It heeds what the engine can of the rest of the configuration, like how long to
	// keep events.
	Open func(ctx context.Context, url string, c Config) (Backend, error)
	// Schema tells which tables there are at the URL. It changes nothing, and makes no file. It is nil for an engine without tables.
	Schema func(ctx context.Context, url string, c Config) (Schema, error)
}

// Schema is which tables an engine has somewhere, and which ones a program works with. [Engine].Open brings the one to the other.
type Schema struct {
	Version int    // of the tables that are there; 0 for none
	Newest  int    // which the program works with; 0 for an engine without tables
	SQL     string // a script in the engine's SQL, to be run as a whole, that makes Newest of Version; empty where nothing is to be done
}

// Open opens the backend that BackendURL names, by one of the engines that the program brings. It fails with
// [ErrInvalid] if the configuration is invalid or no engine has its scheme. The message lists the schemes that there are.
// It sets the Limits; with one that the engine cannot have it fails.
// Otherwise the errors, and what ctx bounds, are the engine's.
func (c Config) Open(ctx context.Context, engines ...Engine) (Backend, error) {
	e, err := c.engine(engines)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, e)
}

// Schema tells which tables the engine has that BackendURL names, and changes nothing there: it is for tools that must not make a
// file of a mistyped path, or tables of a new version beside programs of an old one. It is zero for an engine without tables.
//
// It fails as Open does, and with the engine's error for tables that are not for this program, because a newer one has made them.
func (c Config) Schema(ctx context.Context, engines ...Engine) (Schema, error) {
	e, err := c.engine(engines)
	if err != nil || e.Schema == nil {
		return Schema{}, err
	}
	return e.Schema(ctx, c.BackendURL, c)
}

// engine is the one that BackendURL names.
func (c Config) engine(engines []Engine) (Engine, error) {
	if err := c.Validate(); err != nil {
		return Engine{}, err
	}
	scheme, _ := schemeOf(c.BackendURL)
	var known []string
	for _, e := range engines {
		if slices.Contains(e.Schemes, scheme) {
			return e, nil
		}
		known = append(known, e.Schemes...)
	}
	// Without the rest of it, which may have a password.
	return Engine{}, invalid("BackendURL has the scheme %q, and this program can open the schemes %q only", scheme, known)
}

// open opens the backend by its engine, and sets the limits of queues.
func (c Config) open(ctx context.Context, e Engine) (Backend, error) {
	b, err := e.Open(ctx, c.BackendURL, c)
	if err != nil {
		return nil, err
	}
	for _, queue := range slices.Sorted(maps.Keys(c.Limits)) {
		if err := b.SetLimit(ctx, queue, c.Limits[queue]); err != nil {
			return nil, errors.Join(fmt.Errorf("omniq: set the limit of queue %q: %w", queue, err), b.Close())
		}
	}
	return b, nil
}

// ClientOptions returns what the configuration says of a client, for [NewClient].
func (c Config) ClientOptions() ClientOption {
	defaults := []TaskOption{ResultTTL(c.ResultTTL)}
	if c.TaskTTL != 0 {
		defaults = append(defaults, TTL(c.TaskTTL))
	}
	return Defaults(defaults...)
}

// WorkerOptions returns what the configuration says of a worker, for [NewWorker]. The worker logs to the standard error
// output from LogLevel on, unless a [Logger] follows.
func (c Config) WorkerOptions() WorkerOption {
	return workerOption(func(w *Worker) error {
		options := []WorkerOption{
			Queues(c.Queues...), Concurrency(c.Concurrency), Retries(c.RetryAttempts), ShutdownTimeout(c.ShutdownTimeout),
			RetryDelays(Exponential(c.RetryDelay, max(MaxRetryDelay, c.RetryDelay)), DefaultJitter),
			Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))),
		}
		if c.TaskTimeout != 0 {
			options = append(options, Timeout(c.TaskTimeout))
		}
		if !c.Schedules {
			options = append(options, WithoutSchedules())
		}
		for _, o := range options {
			if err := o.applyWorker(w); err != nil {
				return err
			}
		}
		return nil
	})
}
