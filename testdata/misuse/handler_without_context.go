// want: does not match

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

type args struct {
	Path  string
	Width int
}

type opts struct {
	Quality int
}

type thumb struct{ Path string }

var resize = omniq.Refer[args, opts, thumb]("images.resize")

func main() {
	ctx, client := context.Background(), (*omniq.Client)(nil)
	println(ctx, client)
	omniq.Define("images.resize", func(args, opts) (thumb, error) { return thumb{}, nil })
}
