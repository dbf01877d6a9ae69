// want: cannot use "a.png" (untyped string constant) as args value in argument to resize.Update

package main

import (
	"context"

	"github.com/google/uuid"

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
	_ = resize.Update(ctx, client, uuid.New(), omniq.StatusPending, "a.png", opts{80})
}
