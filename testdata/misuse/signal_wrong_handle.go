// want: cannot use approve.Attach(client, [16]byte{}) (value of type *omniq.Handle[decision]) as *omniq.Handle[page] value in variable declaration

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
	var h *omniq.Handle[page] = approve.Attach(client, [16]byte{})
	println(ctx, h)
}
