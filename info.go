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
	Attempt     int // 1 for the first; each start counts, one that was lost too
	MaxAttempts int // how many attempts may fail; those that were lost are not among them
	Lost        int // how many attempts before this one were lost, because their worker died or lost the lease
	CreatedAt   time.Time
	Metadata    map[string]string // not to be changed
	WorkerID    string
	Flow        uuid.UUID // the flow that the task is a member of, for [Client.Flow]; zero for none
}

type infoKey struct{}

// InfoFrom returns what is known of the attempt whose handler, or middleware, got ctx or one derived from it. In any
// other context ok is false.
func InfoFrom(ctx context.Context) (info Info, ok bool) {
	p, ok := ctx.Value(infoKey{}).(*Info)
	if !ok {
		return Info{}, false
	}
	return *p, true
}

// ContextWithInfo returns a context in which [InfoFrom] finds info, for tests of handlers.
func ContextWithInfo(ctx context.Context, info Info) context.Context {
	return &infoContext{Context: ctx, info: info}
}

// infoContext is context.WithValue for both of its values.
type infoContext struct {
	context.Context
	info      Info
	execution execution
}

func (c *infoContext) Value(key any) any {
	switch key {
	case infoKey{}:
		return &c.info
	case executionKey{}:
		if c.execution.worker != nil {
			return &c.execution
		}
	}
	return c.Context.Value(key)
}
