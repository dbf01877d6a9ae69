package backendtest

import (
	"context"

	"github.com/omniq-go/omniq"
)

// brokenBoundShares are not of one mind about limits and lanes.
var brokenBoundShares = []rift{
	{"takes the limits of the other away", func(_, other *half) {
		lease := other.lease
		other.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			for _, queue := range r.Queues {
				if err := other.m.SetLimit(ctx, queue, omniq.Limit{}); err != nil {
					return nil, err
				}
			}
			return lease(ctx, r)
		}
	}, []string{
		"a limit that one sets holds for both together, and the place that one frees is the other's",
		"a rate that one has used up and a lane that one holds back are so for the other",
	}},
	{"has lanes for what it has enqueued itself", func(one, other *half) {
		tasks(func(t *omniq.RawTask) { t.Lane = "" })(one.broken)
	}, []string{
		"a rate that one has used up and a lane that one holds back are so for the other",
		"lanes take turns, whoever of both hands out",
	}},
}
