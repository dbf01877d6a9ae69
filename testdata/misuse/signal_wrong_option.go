// want: cannot use omniq.Retries(3) (value of interface type omniq.LimitOption) as omniq.SignalOption value in argument to approve.Promise: omniq.LimitOption does not implement omniq.SignalOption (missing method fitsSignals)

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

type (
	page     struct{ URL string }
	decision struct{ OK bool }
)

var (
	approve = omniq.DefineSignal[decision]("approve")
	count   = omniq.ReferArgs[page, int]("count")
)

func main() {
	ctx, client := context.Background(), (*omniq.Client)(nil)
	_, _ = approve.Promise(omniq.Retries(3)).Enqueue(ctx, client)
}
