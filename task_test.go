package omniq_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

type mailArgs struct {
	To    string
	Tries int
}

type mailKwargs struct {
	Subject string `json:"subject"`
	Urgent  bool   `json:"urgent,omitempty"`
}

func TestNewTask(t *testing.T) {
	before := time.Now()
	task, err := omniq.NewTask("mail.send", mailArgs{"a@b", 2}, mailKwargs{Subject: "hi"},
		omniq.TTL(time.Hour+time.Nanosecond), omniq.Queue("mail"), omniq.Priority(-2), omniq.Delay(time.Minute), omniq.Retries(0),
		omniq.Timeout(time.Second), omniq.ResultTTL(0), omniq.Metadata("a", "1"), omniq.Metadata("b", "2"))
	require.NoError(t, err)
	assert.Equal(t, uuid.Version(7), task.ID.Version())
	assert.Equal(t, "mail.send", task.FuncName)
	assert.Equal(t, time.UTC, task.CreatedAt.Location())
	assert.Zero(t, task.CreatedAt.Nanosecond()%1000)
	assert.WithinRange(t, task.CreatedAt, before.Add(-time.Microsecond), time.Now())
	assert.Equal(t, time.Hour, *task.TTL)
	assert.Equal(t, time.Minute, task.Delay)
	assert.Zero(t, task.RunAt)
	assert.Equal(t, 1, task.MaxAttempts)
	assert.Equal(t, map[string]string{"a": "1", "b": "2"}, task.Metadata)
	assert.NoError(t, task.Validate())
	deadline, ok := task.Deadline()
	assert.True(t, ok)
	assert.Equal(t, task.CreatedAt.Add(time.Hour), deadline)

	text, err := json.Marshal(task)
	require.NoError(t, err)
	var again omniq.Task[mailArgs, mailKwargs]
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, task, again, "nothing is lost on the wire")
}

func TestNewTaskRefuses(t *testing.T) {
	none := omniq.NoKwargs{}
	tests := []struct {
		name string
		make func() error
		want string
	}{
		{"an empty name", newTask("", none), "func_name is empty"},
		{"a long name", newTask(strings.Repeat("x", 256), none), "has 256 bytes, want at most 255"},
		{"a name that is not UTF-8", newTask("a\xff", none), "is not UTF-8"},
		{"a control character in the name", newTask("a\nb", none), `has '\n' at byte 1`},
		{"white space around the name", newTask(" a", none), "white space at an end"},
		{"a TTL of zero", newTask("f", none, omniq.TTL(0)), "TTL is 0s, want at least 1µs"},
		{"a negative TTL", newTask("f", none, omniq.TTL(-time.Hour)), "TTL is -1h0m0s"},
		{"a TTL below a microsecond", newTask("f", none, omniq.TTL(999)), "TTL is 999ns"},
		{"a task that can never start", newTask("f", none, omniq.TTL(time.Second), omniq.Delay(time.Minute)), "could never start"},
		{"a negative delay", newTask("f", none, omniq.Delay(-1)), "Delay is -1ns"},
		{"a time far away", newTask("f", none, omniq.RunAt(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))), "year 10000"},
		{"an empty queue", newTask("f", none, omniq.Queue("")), "has 0 bytes"},
		{"a queue with a space", newTask("f", none, omniq.Queue("a b")), `has ' ' at byte 1`},
		{"negative retries", newTask("f", none, omniq.Retries(-1)), "Retries is -1"},
		{"a timeout of zero", newTask("f", none, omniq.Timeout(0)), "Timeout is 0s"},
		{"a negative result TTL", newTask("f", none, omniq.ResultTTL(-1)), "ResultTTL is -1ns"},
		{"an ID of zeros", newTask("f", none, omniq.ID(uuid.Nil)), "ID is all zeros"},
		{"metadata without a key", newTask("f", none, omniq.Metadata("", "x")), `metadata "": "x"`},
		{"kwargs that are positional", newTask("f", []int{1}), "kwargs type []int is positional"},
		{"kwargs that are one value", newTask("f", 1), "kwargs type int is one value"},
		{"kwargs that are a pointer", newTask("f", &mailKwargs{}), "is a pointer: use omniq_test.mailKwargs itself"},
		{"kwargs with a form of their own", newTask("f", time.Time{}), "has a JSON or text form of its own"},
		{"kwargs with keys that are numbers", newTask("f", map[int]int{}), "has keys of type int"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.make()
			assert.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func newTask[K any](name string, kwargs K, opts ...omniq.TaskOption) func() error {
	return func() error {
		_, err := omniq.NewTask(name, omniq.NoArgs{}, kwargs, opts...)
		return err
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*omniq.RawTask)
		want   string
	}{
		{"no ID", func(r *omniq.RawTask) { r.ID = uuid.Nil }, "without an ID"},
		{"no name", func(r *omniq.RawTask) { r.FuncName = "" }, "func_name is empty"},
		{"a bad queue", func(r *omniq.RawTask) { r.Queue = "*" }, `queue "*"`},
		{"no time", func(r *omniq.RawTask) { r.CreatedAt = time.Time{} }, "CreatedAt is not set"},
		{"negative attempts", func(r *omniq.RawTask) { r.MaxAttempts = -1 }, "MaxAttempts is -1"},
		{"a timeout of nanoseconds", func(r *omniq.RawTask) { r.Timeout = 1 }, "Timeout is 1ns"},
		{"a negative result TTL", func(r *omniq.RawTask) { r.ResultTTL = new(-time.Second) }, "ResultTTL is -1s"},
		{"a bad codec", func(r *omniq.RawTask) { r.Codec = "X" }, `name "X"`},
		{"bad metadata", func(r *omniq.RawTask) { r.Metadata = map[string]string{"a": "\xff"} }, "metadata"},
		{"never", func(r *omniq.RawTask) { r.TTL, r.RunAt = new(time.Second), r.CreatedAt.Add(time.Hour) }, "could never start"},
		{"expired", func(r *omniq.RawTask) { r.TTL = new(-time.Second) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
			tt.change(&r)
			err := r.Validate()
			if tt.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func TestResults(t *testing.T) {
	id := uuid.New()
	ok, err := omniq.NewSuccess(id, 42, omniq.TTL(time.Hour), omniq.Attempts(2))
	require.NoError(t, err)
	assert.NoError(t, ok.Err())
	text, err := json.Marshal(ok)
	require.NoError(t, err)
	assert.Regexp(t, `^\{"task_id":"`+id.String()+`","status":"SUCCESS","result_data":42,"timestamp":"[^"]*Z","ttl":"PT3600S","attempts":2\}$`, string(text))
	var again omniq.TaskResult[int]
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, ok, again)

	failed, err := omniq.NewFailure[int](id, fmt.Errorf("open it: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}))
	require.NoError(t, err)
	text, err = json.Marshal(failed)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"result_data":null,`, "no zero that looks like a result")
	assert.Contains(t, string(text), `"error":{"type":"*fs.PathError","message":"open it: open x: file does not exist","retryable":true}`)
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, failed, again)
	var e *omniq.TaskError
	require.ErrorAs(t, failed.Err(), &e)
	assert.Equal(t, "*fs.PathError: open it: open x: file does not exist", e.Error())

	_, err = omniq.NewSuccess(uuid.Nil, 1)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewFailure[int](id, nil)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewSuccess(id, 1, omniq.Attempts(-1))
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewSuccess(id, 1, omniq.TTL(0))
	assert.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestResultErr(t *testing.T) {
	for status, want := range map[omniq.Status]error{
		omniq.StatusPending: nil, omniq.StatusRunning: nil, omniq.StatusSuccess: nil,
		omniq.StatusCancelled: omniq.ErrCancelled, omniq.StatusExpired: omniq.ErrExpired,
	} {
		r := omniq.RawResult{Status: status}
		assert.ErrorIs(t, r.Err(), want, status)
	}
	assert.ErrorContains(t, (&omniq.RawResult{Status: omniq.StatusFailure}).Err(), "without saying why")
}

func TestEvents(t *testing.T) {
	id := uuid.New()
	e, err := omniq.NewEvent(id, omniq.EventFailed, omniq.OnWorker("w"), omniq.OnAttempt(2, errors.New("boom")), omniq.OnQueue("q"))
	require.NoError(t, err)
	text, err := json.Marshal(e)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"worker_id":"w","attempt":2,"queue":"q","error":{"type":"error","message":"boom","retryable":true}}`)
	var again omniq.TaskEvent
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, e, again)
	for _, opt := range []omniq.EventOption{omniq.OnWorker(""), omniq.OnWorker("\xff"), omniq.OnAttempt(0, nil), omniq.OnQueue("")} {
		_, err := omniq.NewEvent(id, omniq.EventStarted, opt)
		assert.ErrorIs(t, err, omniq.ErrInvalid)
	}
	_, err = omniq.NewEvent(uuid.Nil, omniq.EventStarted)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewEvent(id, 0)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
}

// A field of type *R would be deadly with these; see the facts on go-json.
func TestResultsOfPointerTypes(t *testing.T) {
	r, err := omniq.NewSuccess(uuid.New(), big.NewInt(1<<62))
	require.NoError(t, err)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	var again omniq.TaskResult[*big.Int]
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Zero(t, r.ResultData.Cmp(again.ResultData))

	p := big.NewInt(7)
	_, err = omniq.DecodeResult[struct{ P **big.Int }](omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw(`{"P":7}`)})
	assert.ErrorContains(t, err, "**big.Int")
	bad, err := omniq.NewSuccess(uuid.New(), struct{ P **big.Int }{&p})
	require.NoError(t, err)
	_, err = json.Marshal(bad)
	assert.ErrorContains(t, err, "**big.Int")
}

func TestTaskErrorOf(t *testing.T) {
	assert.Nil(t, omniq.NewTaskError(nil))
	assert.False(t, omniq.NewTaskError(omniq.Permanent(errors.New("x"))).Retryable)
	assert.Equal(t, "error", omniq.NewTaskError(omniq.Permanent(errors.New("x"))).Type)
	assert.Equal(t, "bad \uFFFD text", omniq.NewTaskError(errors.New("bad \xff text")).Message)
	assert.Equal(t, "context.deadlineExceededError", omniq.NewTaskError(context.DeadlineExceeded).Type)
	known := &omniq.TaskError{Type: "T", Message: "m", Retryable: true}
	assert.Equal(t, known, omniq.NewTaskError(fmt.Errorf("around: %w", known)))
	assert.Nil(t, omniq.Permanent(nil))
	assert.Nil(t, omniq.RetryAfter(time.Second, nil))
}
