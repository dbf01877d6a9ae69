// want: cannot use omniq.Retries(1) (value of interface type omniq.LimitOption) as omniq.ClientOption value in argument to omniq.NewClient: omniq.LimitOption does not implement omniq.ClientOption (missing method applyClient)

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
	_, _ = omniq.NewClient(nil, omniq.Retries(1))
}
