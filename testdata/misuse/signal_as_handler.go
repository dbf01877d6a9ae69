// want: cannot use approve (variable of struct type omniq.Signal[decision]) as omniq.Handler value in argument to omniq.Handlers: omniq.Signal[decision] does not implement omniq.Handler (missing method spec)

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
	println(ctx, client)
	_, _ = omniq.NewWorker(nil, omniq.Handlers(approve))
}
