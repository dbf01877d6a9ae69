// want: cannot use resize (variable of struct type omniq.Reference[args, opts, thumb]) as omniq.Handler value in argument to omniq.Handlers: omniq.Reference[args, opts, thumb] does not implement omniq.Handler (missing method spec)

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
	_, _ = omniq.NewWorker(nil, omniq.Handlers(resize))
}
