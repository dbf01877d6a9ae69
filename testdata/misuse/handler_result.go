// want: omniq.Reference[args, opts, thumb] does not satisfy string | omniq.Reference[args, opts, string]

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
	omniq.Define(resize, func(context.Context, args, opts) (string, error) { return "", nil })
}
