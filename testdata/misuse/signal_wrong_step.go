// want: cannot use approve.Promise() (value of struct type omniq.Promise[decision]) as omniq.Promise[page] value in argument to count.On

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
	_, _ = count.On(approve.Promise()).Enqueue(ctx, client)
}
