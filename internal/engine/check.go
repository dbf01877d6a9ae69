package engine

import (
	"fmt"

	"github.com/omniq-go/omniq"
)

// CheckLease reports what is wrong with a request for leases: it is [omniq.ErrInvalid].
func CheckLease(r *omniq.LeaseRequest) error {
	switch {
	case len(r.Queues) == 0 || r.Max < 1 || r.Duration <= 0:
		return fmt.Errorf("%w: lease of at most %d tasks of queues %q for %v, want at least one of each",
			omniq.ErrInvalid, r.Max, r.Queues, r.Duration)
	case r.Ahead < 0 || r.Ahead > r.Max:
		return fmt.Errorf("%w: lease of at most %d tasks, %d of them ahead, want 0 to %d ahead", omniq.ErrInvalid, r.Max, r.Ahead, r.Max)
	}
	return nil
}

// CheckSettlement reports what is wrong with a settlement, whatever engine it is for: it is [omniq.ErrInvalid].
func CheckSettlement(s *omniq.Settlement) error {
	switch s.Action {
	case omniq.ActionRetry, omniq.ActionRelease, omniq.ActionDefer:
		if s.Delay < 0 {
			return fmt.Errorf("%w: task %v is given back for %v, want at least 0", omniq.ErrInvalid, s.TaskID, s.Delay)
		}
		return nil
	case omniq.ActionFinish:
		if s.Result == nil || s.Result.TaskID != s.TaskID || !s.Result.Status.Final() {
			return fmt.Errorf("%w: task %v finishes with result %+v, want its own with a final status", omniq.ErrInvalid, s.TaskID, s.Result)
		}
		return nil
	}
	return fmt.Errorf("%w: settlement of task %v with action %d, want one that exists", omniq.ErrInvalid, s.TaskID, s.Action)
}
