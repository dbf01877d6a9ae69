// want: cannot use h.ID() (value of array type uuid.UUID) as omniq.Handled value in argument to rows.Of: uuid.UUID does not implement omniq.Handled (missing method handled)

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

var rows = omniq.Stream[int]("rows")

func main() {
	var h *omniq.Handle[string]
	for range rows.Of(context.Background(), h.ID()) {
	}
}
