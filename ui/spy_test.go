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

// told counts a call, and returns what it is to fail with.
func (s *spy) told(what string, writes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if writes {
		s.writes = append(s.writes, what)
		return s.fail
	}
	if s.reads == nil {
		s.reads = make(map[string]int)
	}
	s.reads[what]++
	return s.fail
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
	if err := s.told("Pause", true); err != nil {
		return err
	}
	return s.Backend.Pause(ctx, queue)
}

func (s *spy) Resume(ctx context.Context, queue string) error {
	if err := s.told("Resume", true); err != nil {
		return err
	}
	return s.Backend.Resume(ctx, queue)
}

func (s *spy) SetLimit(ctx context.Context, queue string, limit omniq.Limit) error {
	if err := s.told("SetLimit", true); err != nil {
		return err
	}
	return s.Backend.SetLimit(ctx, queue, limit)
}

func (s *spy) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := s.told("Enqueue", true); err != nil {
		return nil, err
	}
	return s.Backend.Enqueue(ctx, tasks)
}

func (s *spy) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if err := s.told("Cancel", true); err != nil {
		return nil, err
	}
	return s.Backend.Cancel(ctx, ids)
}

func (s *spy) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	if err := s.told("CancelFlow", true); err != nil {
		return 0, err
	}
	return s.Backend.CancelFlow(ctx, flow)
}

func (s *spy) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	if err := s.told("Requeue", true); err != nil {
		return nil, err
	}
	return s.Backend.Requeue(ctx, ids, follow)
}

func (s *spy) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if err := s.told("RunNow", true); err != nil {
		return nil, err
	}
	return s.Backend.RunNow(ctx, ids)
}

func (s *spy) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	if err := s.told("Forget", true); err != nil {
		return nil, err
	}
	return s.Backend.Forget(ctx, ids)
}

func (s *spy) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	if err := s.told("Free", true); err != nil {
		return nil, err
	}
	return s.Backend.Free(ctx, keys)
}

func (s *spy) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	if err := s.told("Update", true); err != nil {
		return nil, err
	}
	return s.Backend.Update(ctx, updates)
}

func (s *spy) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	if err := s.told("Inspect", false); err != nil {
		return nil, err
	}
	return s.Backend.Inspect(ctx, id)
}

func (s *spy) List(ctx context.Context, request omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if err := s.told("List", false); err != nil {
		return nil, "", err
	}
	return s.Backend.List(ctx, request)
}

func (s *spy) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	if err := s.told("Stats", false); err != nil {
		return nil, err
	}
	return s.Backend.Stats(ctx)
}

func (s *spy) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) {
	if err := s.told("Workers", false); err != nil {
		return nil, err
	}
	return s.Backend.Workers(ctx)
}

func (s *spy) History(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
	if err := s.told("History", false); err != nil {
		return nil, err
	}
	return s.Backend.History(ctx, last)
}

func (s *spy) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	if err := s.told("FlowStats", false); err != nil {
		return omniq.FlowStats{}, err
	}
	return s.Backend.FlowStats(ctx, flow)
}
