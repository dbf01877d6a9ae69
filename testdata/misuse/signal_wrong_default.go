// want: cannot use omniq.Priority(1) (value of interface type omniq.TaskOption) as omniq.SignalOption value in argument to omniq.DefineSignal[page]: omniq.TaskOption does not implement omniq.SignalOption (missing method fitsSignals)

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
	_ = omniq.DefineSignal[page]("page", omniq.Priority(1))
	println(ctx, client)
}
