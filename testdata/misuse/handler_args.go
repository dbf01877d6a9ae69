// want: omniq.Reference[args, opts, thumb] does not satisfy string | omniq.Reference[opts, args, thumb]

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
	omniq.Define(resize, func(context.Context, opts, args) (thumb, error) { return thumb{}, nil })
}
