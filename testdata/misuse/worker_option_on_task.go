// want: cannot use omniq.Concurrency(4) (value of interface type omniq.WorkerOption) as omniq.TaskOption value in argument to resize.Enqueue: omniq.WorkerOption does not implement omniq.TaskOption (missing method applyTask)

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
	_, _ = resize.Enqueue(ctx, client, args{"a.png", 640}, opts{80}, omniq.Concurrency(4))
}
