package ui_test

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// spy is an engine that tells what it was asked for, and fails if it is told to.
type spy struct {
	omniq.Backend
	mu     sync.Mutex
	writes []string
	reads  map[string]int
	fail   error
}

// told counts a call, and reports whether it is to fail.
func (s *spy) told(what string, writes bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if writes {
		s.writes = append(s.writes, what)
		return s.fail != nil
	}
	if s.reads == nil {
		s.reads = make(map[string]int)
	}
	s.reads[what]++
	return s.fail != nil
}

// times is how often something was read.
func (s *spy) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[what]
}

func (s *spy) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *spy) Pause(ctx context.Context, queue string) error {
	if s.told("Pause", true) {
		return s.fail
	}
	return s.Backend.Pause(ctx, queue)
}

func (s *spy) Resume(ctx context.Context, queue string) error {
	if s.told("Resume", true) {
		return s.fail
	}
	return s.Backend.Resume(ctx, queue)
}

func (s *spy) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if s.told("SetLimit", true) {
		return s.fail
	}
	return s.Backend.SetLimit(ctx, queue, limit)
}

func (s *spy) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if s.told("Enqueue", true) {
		return nil, s.fail
	}
	return s.Backend.Enqueue(ctx, tasks)
}

func (s *spy) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if s.told("Cancel", true) {
		return nil, s.fail
	}
	return s.Backend.Cancel(ctx, ids)
}

func (s *spy) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	if s.told("CancelFlow", true) {
		return 0, s.fail
	}
	return s.Backend.CancelFlow(ctx, flow)
}

func (s *spy) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	if s.told("Requeue", true) {
		return nil, s.fail
	}
	return s.Backend.Requeue(ctx, ids, follow)
}

func (s *spy) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if s.told("RunNow", true) {
		return nil, s.fail
	}
	return s.Backend.RunNow(ctx, ids)
}

func (s *spy) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if s.told("Forget", true) {
		return nil, s.fail
	}
	return s.Backend.Forget(ctx, ids)
}

func (s *spy) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	if s.told("Free", true) {
		return nil, s.fail
	}
	return s.Backend.Free(ctx, keys)
}

func (s *spy) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	if s.told("Update", true) {
		return nil, s.fail
	}
	return s.Backend.Update(ctx, updates)
}

func (s *spy) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	if s.told("Inspect", false) {
		return nil, s.fail
	}
	return s.Backend.Inspect(ctx, id)
}

func (s *spy) List(ctx context.Context, request omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if s.told("List", false) {
		return nil, "", s.fail
	}
	return s.Backend.List(ctx, request)
}

func (s *spy) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	if s.told("Stats", false) {
		return nil, s.fail
	}
	return s.Backend.Stats(ctx)
}

func (s *spy) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) {
	if s.told("Workers", false) {
		return nil, s.fail
	}
	return s.Backend.Workers(ctx)
}

func (s *spy) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	if s.told("History", false) {
		return nil, s.fail
	}
	return s.Backend.History(ctx, last)
}

func (s *spy) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	if s.told("FlowStats", false) {
		return omniq.FlowStats{}, s.fail
	}
	return s.Backend.FlowStats(ctx, flow)
}
