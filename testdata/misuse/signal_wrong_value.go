// want: cannot use page{} (value of struct type page) as decision value in argument to approve.Send

package main

import (
	"context"

	"github.com/google/uuid"

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
	_ = approve.Send(ctx, client, uuid.New(), page{})
}
