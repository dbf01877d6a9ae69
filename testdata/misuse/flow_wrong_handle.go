// want: cannot use count.On(first).Enqueue(ctx, client) (value of type *omniq.Handle[int]) as *omniq.Handle[doc] value in assignment

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
	var h *omniq.Handle[doc]
	h, _ = count.On(first).Enqueue(ctx, client)
	_ = h
}
