package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/omniq-go/omniq"
)

var errNoMonitor = errors.New("postgres: there is no monitor yet")

// Beat is not there yet.
func (b *Backend) Beat(context.Context, omniq.WorkerInfo) error { return errNoMonitor }

// Workers is not there yet.
func (b *Backend) Workers(context.Context) ([]omniq.WorkerInfo, error) { return nil, errNoMonitor }

// History is not there yet.
func (b *Backend) History(context.Context, time.Duration) ([]omniq.Minute, error) {
	return nil, errNoMonitor
}
