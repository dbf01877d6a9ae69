package postgres

import (
	"context"
	"fmt"

	"github.com/omniq-go/omniq"
)

// SetLimit fails: this engine has no limits.
func (b *Backend) SetLimit(context.Context, string, omniq.Limit) error {
	return fmt.Errorf("%w: postgres: this engine has no limits", omniq.ErrInvalid)
}
