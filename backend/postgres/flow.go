package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// The engine has no flows and no notes yet: see its Capabilities. What is about them is [omniq.ErrInvalid].

// Note is [omniq.ErrInvalid]: this engine keeps no notes.
func (b *Backend) Note(context.Context, []omniq.LeaseNotes) ([]error, error) {
	return nil, invalid("it keeps no notes of tasks")
}

// Resolve is [omniq.ErrInvalid]: this engine has no manual tasks.
func (b *Backend) Resolve(context.Context, []*omniq.RawResult) ([]error, error) {
	return nil, invalid("it has no manual tasks")
}

// CancelFlow is [omniq.ErrInvalid]: this engine has no flows.
func (b *Backend) CancelFlow(context.Context, uuid.UUID) (int, error) {
	return 0, invalid("it has no flows")
}

// FlowStats is [omniq.ErrInvalid]: this engine has no flows.
func (b *Backend) FlowStats(context.Context, uuid.UUID) (omniq.FlowStats, error) {
	return omniq.FlowStats{}, invalid("it has no flows")
}

// Stream is [omniq.ErrInvalid]: this engine keeps no streams.
func (b *Backend) Stream(context.Context, omniq.StreamRequest) (omniq.StreamPage, error) {
	return omniq.StreamPage{}, invalid("it keeps no streams of tasks")
}
