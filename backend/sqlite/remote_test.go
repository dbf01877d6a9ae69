package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// remote is a backend in another process, which does what its standard input asks for, many calls at once.
type remote struct {
	caps   omniq.Capabilities
	kill   func() error // the process; it ends in the middle of whatever it does
	killed bool

	mu      sync.Mutex
	out     *json.Encoder
	last    int
	waiting map[int]chan<- answer
}

// elsewhere opens the file in another process, which ends with the test.
func elsewhere(t *testing.T, path string, retention time.Duration) omniq.Backend {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), remoteVariable+"="+path, retentionVariable+"="+retention.String())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	r := &remote{out: json.NewEncoder(in), waiting: make(map[int]chan<- answer)}
	r.kill = func() error { r.killed = true; return c.Process.Kill() }
	read := make(chan error, 1)
	go func() { read <- r.read(json.NewDecoder(out)) }()
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, <-read)
		if err := c.Wait(); !r.killed {
			require.NoError(t, err)
		}
	})
	require.NoError(t, r.ask(t.Context(), "Capabilities", nil, &r.caps))
	return r
}

// read hands the answers to those who wait for them, until there are no more.
func (r *remote) read(in *json.Decoder) error {
	for {
		var a answer
		switch err := in.Decode(&a); {
		case errors.Is(err, io.EOF):
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, done := range r.waiting {
				close(done)
			}
			r.waiting = nil
			return nil
		case err != nil:
			return err
		}
		r.mu.Lock()
		r.waiting[a.Number] <- a
		delete(r.waiting, a.Number)
		r.mu.Unlock()
	}
}

// ask calls a method there, with pointers to its results but the error, which is the last.
func (r *remote) ask(ctx context.Context, method string, args []any, results ...any) error {
	c := call{Method: method}
	for _, a := range args {
		data, err := json.Marshal(a)
		if err != nil {
			return err
		}
		c.Args = append(c.Args, data)
	}
	done := make(chan answer, 1)
	r.mu.Lock()
	if r.waiting == nil {
		r.mu.Unlock()
		return errors.New("the other process has ended")
	}
	r.last++
	c.Number = r.last
	r.waiting[c.Number] = done
	err := r.out.Encode(c)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		_ = r.out.Encode(call{Number: c.Number}) // the process may have ended
	})
	defer stop()
	a, ok := <-done
	if !ok {
		return errors.New("the other process has ended")
	}
	var failed *failure
	results = append(results, &failed)
	for i, data := range a.Results {
		if err := receive(data, results[i]); err != nil {
			return fmt.Errorf("result %d of %s: %w", i, method, err)
		}
	}
	return failed.error()
}

// each calls a method that returns an error for each item.
func (r *remote) each(ctx context.Context, method string, args ...any) ([]error, error) {
	var places []*failure
	err := r.ask(ctx, method, args, &places)
	if places == nil {
		return nil, err
	}
	errs := make([]error, len(places))
	for i, f := range places {
		errs[i] = f.error()
	}
	return errs, err
}

func (r *remote) Capabilities() omniq.Capabilities { return r.caps }

func (r *remote) Close() error { return r.ask(context.Background(), "Close", nil) }

func (r *remote) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return r.each(ctx, "Enqueue", tasks)
}

func (r *remote) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	return r.each(ctx, "Start", leases)
}

func (r *remote) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	return r.each(ctx, "Settle", settlements)
}

func (r *remote) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return r.each(ctx, "Cancel", ids)
}

func (r *remote) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	return r.each(ctx, "Requeue", ids, follow)
}

func (r *remote) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return r.each(ctx, "RunNow", ids)
}

func (r *remote) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	return r.each(ctx, "Update", updates)
}

func (r *remote) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	return r.each(ctx, "Free", keys)
}

func (r *remote) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	return r.each(ctx, "Record", results)
}

func (r *remote) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return r.each(ctx, "Forget", ids)
}

func (r *remote) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	return r.each(ctx, "Extend", leases, by)
}

func (r *remote) Note(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
	return r.each(ctx, "Note", notes)
}

func (r *remote) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	return r.each(ctx, "Resolve", results)
}

func (r *remote) Stream(ctx context.Context, request omniq.StreamRequest) (page omniq.StreamPage, err error) {
	err = r.ask(ctx, "Stream", []any{request}, &page)
	return page, err
}

func (r *remote) CancelFlow(ctx context.Context, flow uuid.UUID) (n int, err error) {
	err = r.ask(ctx, "CancelFlow", []any{flow}, &n)
	return n, err
}

func (r *remote) FlowStats(ctx context.Context, flow uuid.UUID) (stats omniq.FlowStats, err error) {
	err = r.ask(ctx, "FlowStats", []any{flow}, &stats)
	return stats, err
}

func (r *remote) Lease(ctx context.Context, request omniq.LeaseRequest) (leases []omniq.Lease, err error) {
	err = r.ask(ctx, "Lease", []any{request}, &leases)
	return leases, err
}

func (r *remote) Revoked(ctx context.Context, worker string) (leases []omniq.LeaseID, err error) {
	err = r.ask(ctx, "Revoked", []any{worker}, &leases)
	return leases, err
}

func (r *remote) Inspect(ctx context.Context, id uuid.UUID) (info *omniq.TaskInfo, err error) {
	err = r.ask(ctx, "Inspect", []any{id}, &info)
	return info, err
}

func (r *remote) Stats(ctx context.Context) (stats []omniq.QueueStats, err error) {
	err = r.ask(ctx, "Stats", []any{}, &stats)
	return stats, err
}

func (r *remote) Result(ctx context.Context, id uuid.UUID) (result *omniq.RawResult, err error) {
	err = r.ask(ctx, "Result", []any{id}, &result)
	return result, err
}

func (r *remote) Await(ctx context.Context, id uuid.UUID) (result *omniq.RawResult, err error) {
	err = r.ask(ctx, "Await", []any{id}, &result)
	return result, err
}

func (r *remote) List(ctx context.Context, request omniq.ListRequest) (page []*omniq.TaskInfo, next string, err error) {
	sent := struct {
		omniq.ListRequest
		Status omniq.Status `json:",omitzero"` // none asks for all of a flow, and has no name
	}{request, request.Status}
	err = r.ask(ctx, "List", []any{sent}, &page, &next)
	return page, next, err
}

func (r *remote) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	return r.ask(ctx, "SetLimit", []any{queue, limit})
}

func (r *remote) Pause(ctx context.Context, queue string) error {
	return r.ask(ctx, "Pause", []any{queue})
}

func (r *remote) Resume(ctx context.Context, queue string) error {
	return r.ask(ctx, "Resume", []any{queue})
}

func (r *remote) Append(ctx context.Context, events []*omniq.TaskEvent) error {
	return r.ask(ctx, "Append", []any{events})
}

func (r *remote) Events(ctx context.Context, request omniq.EventsRequest) (
	events []omniq.StoredEvent, next omniq.Cursor, err error,
) {
	var list []event
	err = r.ask(ctx, "Events", []any{request}, &list, &next)
	for _, e := range list {
		events = append(events, omniq.StoredEvent{Cursor: e.Cursor, TaskEvent: e.Event})
	}
	return events, next, err
}

func (r *remote) Beat(ctx context.Context, w omniq.WorkerInfo) error {
	return r.ask(ctx, "Beat", []any{w})
}

func (r *remote) Workers(ctx context.Context) (workers []omniq.WorkerInfo, err error) {
	err = r.ask(ctx, "Workers", []any{}, &workers)
	return workers, err
}

func (r *remote) History(ctx context.Context, last time.Duration) (minutes []omniq.Minute, err error) {
	err = r.ask(ctx, "History", []any{last}, &minutes)
	return minutes, err
}
