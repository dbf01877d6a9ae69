package backendtest

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// brokenFlowShares are not of one mind about flows.
var brokenFlowShares = []rift{
	{"releases nothing for another process", both(func(h *half) {
		var ended sync.Map
		settle, lease := h.settle, h.lease
		h.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			for _, s := range s {
				ended.Store(s.TaskID, true)
			}
			return settle(ctx, s)
		}
		h.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := lease(ctx, r)
			return slices.DeleteFunc(leases, func(l omniq.Lease) bool {
				return slices.ContainsFunc(l.Inputs, func(r *omniq.RawResult) bool {
					if r == nil || l.Resumed {
						return false
					}
					_, own := ended.Load(r.TaskID)
					return !own
				})
			}), err
		}
	}), []string{"what one waits for the other may end, which releases or ends what waits"}},
	{"resumes nothing in another process", both(func(h *half) {
		lease := h.lease
		h.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := lease(ctx, r)
			return slices.DeleteFunc(leases, func(l omniq.Lease) bool { return l.Resumed }), err
		}
	}), []string{"a task that hands over at one is leased again at the other"}},
	{"resolves what it has enqueued itself", both(func(h *half) {
		var own sync.Map
		tasks(func(t *omniq.RawTask) { own.Store(t.ID, true) })(h.broken)
		h.resolve = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			if _, ok := own.Load(results[0].TaskID); !ok {
				return []error{omniq.ErrNotFound}, nil
			}
			return h.m.Resolve(ctx, results)
		}
	}), []string{"what one waits for the other may end, which releases or ends what waits"}},
	{"cancels the members of a flow that it works itself", both(func(h *half) {
		var others sync.Map
		lease := h.lease
		h.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := lease(ctx, r)
			for _, l := range leases {
				others.Store(l.TaskID, true)
			}
			return leases, err
		}
		h.twin.cancelFlow = func(ctx context.Context, flow uuid.UUID) (int, error) {
			all, _, err := h.m.List(ctx, omniq.ListRequest{Flow: flow, Max: 100})
			if err != nil {
				return 0, err
			}
			for _, info := range all {
				if _, ok := others.Load(info.ID); !ok {
					if _, err := h.m.Cancel(ctx, []uuid.UUID{info.ID}); err != nil {
						return 0, err
					}
				}
			}
			return len(all), nil
		}
	}), []string{"a flow that one cancels ends at the other, too"}},
	{"counts the members of a flow once", both(func(h *half) {
		var once sync.Once
		var known omniq.FlowStats
		h.flowStats = func(ctx context.Context, flow uuid.UUID) (_ omniq.FlowStats, err error) {
			once.Do(func() { known, err = h.m.FlowStats(ctx, flow) })
			return known, err
		}
	}), []string{"a flow that one cancels ends at the other, too"}},
	{"keeps notes for each process", func(one, _ *half) {
		apart := memory.New()
		one.stream = apart.Stream
	}, []string{"who reads a stream at one gets what is put in at the other, and its end"}},
	{"does not wake readers for what another process notes", both(func(h *half) {
		h.stream = func(ctx context.Context, r omniq.StreamRequest) (page omniq.StreamPage, err error) {
			wait := r.Wait
			r.Wait = 0
			failed := h.until(ctx, wait, func() bool {
				page, err = h.m.Stream(ctx, r)
				return err != nil || len(page.Items) > 0 || page.Ended
			})
			if failed != nil {
				err = failed
			}
			return page, err
		}
	}), []string{"who reads a stream at one gets what is put in at the other, and its end"}},
}
