package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

const (
	remoteVariable    = "OMNIQ_SQLITE_REMOTE"
	retentionVariable = "OMNIQ_SQLITE_RETENTION"
)

// call asks for a method, or ends the context of one that was asked for.
type call struct {
	Number int
	Method string // empty to end the context
	Args   []json.RawMessage
}

// answer is what a method has returned.
type answer struct {
	Number  int
	Results []json.RawMessage
}

// event is a stored event as it is sent: its own form has no cursor.
type event struct {
	Cursor omniq.Cursor
	Event  *omniq.TaskEvent
}

// remoteChild is the whole of a process that [elsewhere] has started.
func remoteChild() {
	path := os.Getenv(remoteVariable)
	if path == "" {
		return
	}
	if err := serve(path); err != nil {
		fmt.Fprintln(os.Stderr, "the other process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve calls the methods of a backend on the file that are asked for, until there are no more.
func serve(path string) error {
	retention, err := time.ParseDuration(os.Getenv(retentionVariable))
	if err != nil {
		return err
	}
	var opts []sqlite.Option
	if retention > 0 {
		opts = append(opts, sqlite.WithEvents(retention))
	}
	b, err := sqlite.Open(path, opts...)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var mu sync.Mutex
	cancels := make(map[int]context.CancelFunc)
	for {
		var c call
		switch err := in.Decode(&c); {
		case errors.Is(err, io.EOF):
			return b.Close()
		case err != nil:
			return err
		}
		mu.Lock()
		if c.Method == "" {
			if cancel := cancels[c.Number]; cancel != nil {
				cancel()
			}
			mu.Unlock()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels[c.Number] = cancel
		mu.Unlock()
		go func() {
			results, err := c.do(ctx, reflect.ValueOf(b).MethodByName(c.Method))
			cancel()
			mu.Lock()
			defer mu.Unlock()
			delete(cancels, c.Number)
			if err == nil {
				err = out.Encode(answer{c.Number, results})
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", c.Method, err)
				os.Exit(1)
			}
		}()
	}
}

// do calls the method.
func (c *call) do(ctx context.Context, method reflect.Value) ([]json.RawMessage, error) {
	var args []reflect.Value
	kind := method.Type()
	for i := range kind.NumIn() {
		if kind.In(i) == reflect.TypeFor[context.Context]() {
			args = append(args, reflect.ValueOf(ctx))
			continue
		}
		arg := reflect.New(kind.In(i))
		if err := receive(c.Args[len(c.Args)-kind.NumIn()+i], arg.Interface()); err != nil {
			return nil, err
		}
		args = append(args, arg.Elem())
	}
	var results []json.RawMessage
	for i, v := range method.Call(args) {
		send := v.Interface()
		switch {
		case kind.Out(i) == reflect.TypeFor[error]():
			err, _ := send.(error)
			send = newFailure(err)
		case kind.Out(i) == reflect.TypeFor[[]error]():
			var places []*failure
			for _, err := range send.([]error) {
				places = append(places, newFailure(err))
			}
			send = places
		case kind.Out(i) == reflect.TypeFor[[]omniq.StoredEvent]():
			var events []event
			for _, e := range send.([]omniq.StoredEvent) {
				events = append(events, event{e.Cursor, e.TaskEvent})
			}
			send = events
		}
		data, err := json.Marshal(send)
		if err != nil {
			return nil, fmt.Errorf("result %d: %w", i, err)
		}
		results = append(results, data)
	}
	return results, nil
}

// receive reads a value that was sent.
func receive(data []byte, to any) error {
	if err := json.Unmarshal(data, to); err != nil {
		return err
	}
	clearNotes(reflect.ValueOf(to))
	return nil
}

// clearNotes makes notes nil that were sent as null, because they were nil.
func clearNotes(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		clearNotes(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			clearNotes(v.Index(i))
		}
	case reflect.Struct:
		for _, name := range []string{"Progress", "State"} {
			if f := v.FieldByName(name); f.IsValid() && f.Type() == reflect.TypeFor[omniq.Raw]() && string(f.Bytes()) == "null" {
				f.SetZero()
			}
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clearNotes(v.Field(i))
			}
		}
	}
}

// causes are the errors that are found in those that come from the other process.
var causes = []error{
	omniq.ErrInvalid, omniq.ErrDuplicate, omniq.ErrState, omniq.ErrNotFound, omniq.ErrLeaseLost, omniq.ErrNoEvents,
	omniq.ErrEventsGone, omniq.ErrClosed, omniq.ErrCancelled, omniq.ErrExpired, context.Canceled,
}

// failure is an error on its way from the other process.
type failure struct {
	Text      string
	Causes    []int            // their places
	Duplicate *omniq.Duplicate // if it is one
}

func newFailure(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	if d, ok := errors.AsType[omniq.Duplicate](err); ok {
		f.Duplicate = &d
	}
	for i, c := range causes {
		if errors.Is(err, c) {
			f.Causes = append(f.Causes, i)
		}
	}
	return f
}

func (f *failure) error() error {
	switch {
	case f == nil:
		return nil
	case f.Duplicate != nil:
		return *f.Duplicate
	}
	return f
}

func (f *failure) Error() string { return f.Text }

func (f *failure) Unwrap() (errs []error) {
	for _, i := range f.Causes {
		errs = append(errs, causes[i])
	}
	return errs
}
