// want: in call to omniq.Chain2, type omniq.ArgsReference[omniq.Args1[string], page] of fetch does not match inferred type omniq.Link[doc, R] for omniq.Link[B, R]

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
	_, _ = omniq.Chain2(parse, fetch).With(page{}).Enqueue(ctx, client)
}
