// want: cannot use h (variable of type *omniq.Handle[thumb]) as *omniq.Handle[string] value in variable declaration

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
	var other *omniq.Handle[string] = h
	println(other)
}
