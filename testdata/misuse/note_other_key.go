// want: rows.Save undefined (type omniq.StreamKey[int] has no field or method Save)

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

var rows = omniq.Stream[int]("rows")

func main() {
	_ = rows.Save(context.Background(), 1)
}
