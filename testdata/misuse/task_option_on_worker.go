// want: cannot use omniq.Priority(1) (value of interface type omniq.TaskOption) as omniq.WorkerOption value in argument to omniq.NewWorker: omniq.TaskOption does not implement omniq.WorkerOption (missing method applyWorker)

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
	_, _ = omniq.NewWorker(nil, omniq.Priority(1))
}
