// want: cannot use omniq.Become(ctx, count.On(first)) (value of type int) as doc value in return statement

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
	_ = omniq.DefineArgs("total", func(ctx context.Context, p page) (doc, error) { return omniq.Become(ctx, count.On(first)) })
	_, _ = first.Enqueue(ctx, client)
}
