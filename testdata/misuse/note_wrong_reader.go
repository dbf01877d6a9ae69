// want: cannot use row (variable of type int) as string value in variable declaration

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

var rows = omniq.Stream[int]("rows")

func main() {
	var h *omniq.Handle[bool]
	for row, err := range rows.Of(context.Background(), h) {
		var text string = row
		_, _ = text, err
	}
}
