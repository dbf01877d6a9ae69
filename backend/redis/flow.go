package redis

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue].
func (b *Backend) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	n, known, after := 0, false, int64(0)
	for {
		answer, err := b.run(ctx, "cancel_flow", fields{"flow": key(flow), "after": after})
		if err != nil {
			return n, err
		}
		parts, err := answer.ToArray()
		if err != nil || len(parts) == 0 {
			return n, errPacked
		}
		if what, _ := parts[0].ToString(); what != "done" {
			if !known {
				return 0, omniq.ErrNotFound
			}
			return n, nil // nothing was kept of its members
		}
		known = true
		ended, _ := parts[1].AsInt64()
		after, _ = parts[2].AsInt64()
		more, _ := parts[3].AsInt64()
		n += int(ended)
		if more == 0 {
			return n, nil
		}
	}
}

// FlowStats returns figures of a flow: see [omniq.TaskQueue].
func (b *Backend) FlowStats(ctx context.Context, flow uuid.UUID) (stats omniq.FlowStats, err error) {
	answer, err := b.run(ctx, "flow_stats", fields{"flow": key(flow)})
	if err != nil {
		return stats, err
	}
	if answer.IsNil() {
		return stats, omniq.ErrNotFound
	}
	counts, err := answer.AsIntMap()
	if err != nil {
		return stats, errPacked
	}
	for status := omniq.StatusPending; status <= omniq.StatusWaiting; status++ {
		engine.CountMember(&stats, status, int(counts[string('0'+rune(status))]))
	}
	return stats, nil
}
