// want: cannot use "half" (untyped string constant) as int value in argument to done.Set

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

var done = omniq.Progress[int]("done")

func main() {
	_ = done.Set(context.Background(), "half")
}
