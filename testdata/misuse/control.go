// want: nothing

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
	h, err := resize.Enqueue(ctx, client, args{"a.png", 640}, opts{80}, omniq.Priority(1), omniq.Retries(2))
	if err != nil {
		panic(err)
	}
	t, err := h.Wait(ctx)
	println(t.Path, err)
	d := omniq.Define(resize, func(context.Context, args, opts) (thumb, error) { return thumb{}, nil })
	_, _ = omniq.NewWorker(nil, omniq.Handlers(d), omniq.Concurrency(1), omniq.Retries(2), omniq.Codecs(nil))
	_, _ = omniq.NewClient(nil, omniq.Codecs(nil))
}
