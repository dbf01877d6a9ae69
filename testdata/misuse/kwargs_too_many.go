// want: cannot use opts{…} (value of struct type opts) as omniq.TaskOption value in argument to d.Enqueue: opts does not implement omniq.TaskOption (missing method applyTask)

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
	d := omniq.DefineArgs("images.size", func(context.Context, args) (int, error) { return 0, nil })
	_, _ = d.Enqueue(ctx, client, args{"a.png", 640}, opts{80})
}
