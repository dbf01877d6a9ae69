// want: own does not implement omniq.TaskOption (unexported method applyTask)

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
	println(client)
	_, _ = resize.Enqueue(ctx, client, args{"a.png", 640}, opts{80}, omniq.TaskOption(own{}))
}

type own struct{}

func (own) applyTask() {}
