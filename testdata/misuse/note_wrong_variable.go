// want: cannot use p (variable of struct type position) as string value in argument to file.Save

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

type position struct{ Line int }

var (
	cursor = omniq.State[position]("cursor")
	file   = omniq.State[string]("file")
)

func main() {
	p, _, _ := cursor.Load(context.Background())
	_ = file.Save(context.Background(), p)
}
