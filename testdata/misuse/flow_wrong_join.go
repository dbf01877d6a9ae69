// want: cannot use omniq.Join2(count.On(first), parse.On(first)) (value of struct type omniq.Promise[omniq.Args2[int, doc]]) as omniq.Promise[omniq.Args2[doc, int]] value in argument to index.On

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
	_, _ = index.On(omniq.Join2(count.On(first), parse.On(first))).Enqueue(ctx, client)
}
