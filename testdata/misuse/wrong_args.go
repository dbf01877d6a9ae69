// want: cannot use "a.png" (untyped string constant) as args value in argument to resize.Enqueue

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
	_, _ = resize.Enqueue(ctx, client, "a.png", opts{80})
}
