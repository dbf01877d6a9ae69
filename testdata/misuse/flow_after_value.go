// want: cannot use 3 (constant of type int) as omniq.Promised value in argument to count.On(first).After: int does not implement omniq.Promised (missing method promised)

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

type (
	page struct{ URL string }
	doc  struct{ Text string }
)

var (
	fetch = omniq.ReferArgs[omniq.Args1[string], page]("fetch")
	parse = omniq.ReferArgs[page, doc]("parse")
	index = omniq.ReferArgs[omniq.Args2[doc, int], int]("index")
	count = omniq.ReferArgs[page, int]("count")
	sum   = omniq.ReferArgs[[]int, int]("sum")
)

func main() {
	ctx, client := context.Background(), (*omniq.Client)(nil)
	first := fetch.With(omniq.MakeArgs1("u"))
	_, _ = count.On(first).After(3).Enqueue(ctx, client)
}
