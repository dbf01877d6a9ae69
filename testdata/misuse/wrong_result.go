// want: cannot use t (variable of struct type thumb) as string value in variable declaration

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
	h, _ := resize.Enqueue(ctx, client, args{"a.png", 640}, opts{80})
	t, _ := h.Wait(ctx)
	var path string = t
	println(path)
}
