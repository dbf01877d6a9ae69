package omniq

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Info is what a handler can know of the attempt that it is. Its deadline is that of its context.
type Info struct {
	ID          uuid.UUID
	FuncName    string
	Queue       string
	Lane        string // of its Queue, empty for none
	Attempt     int    // 1 for the first; each start counts, one that was lost too
	MaxAttempts int    // how many attempts may fail; those that were lost are not among them
	Lost        int    // how many attempts before this one were lost, because their worker died or lost the lease
	CreatedAt   time.Time
	Metadata    map[string]string // not to be changed
	WorkerID    string
	Waited      time.Duration // how long it was due before its handler began, or until now; see [Lease].Waited
	Flow        uuid.UUID     // the flow that the task is a member of, for [Client.Flow]; zero for none
}

type infoKey struct{}

// InfoFrom returns what is known of the attempt whose handler, or middleware, got ctx or one derived from it. In any
// other context ok is false.
func InfoFrom(ctx context.Context) (info Info, ok bool) {
	switch v := ctx.Value(infoKey{}).(type) {
	case *execution:
		return v.worker.infoOf(v.attempt), true
	case Info:
		return v, true
	}
	return Info{}, false
}

// ContextWithInfo returns a context in which [InfoFrom] finds info, for tests of handlers.
func ContextWithInfo(ctx context.Context, info Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

type executionKey struct{}

// execution is an attempt whose handler runs, and the handler's context. It is what [InfoFrom] finds, too.
type execution struct {
	context.Context
	worker  *Worker
	attempt *attempt
}

func (h *execution) Value(key any) any {
	if key == (infoKey{}) || key == (executionKey{}) {
		return h
	}
	return h.Context.Value(key)
}
