// want: cannot use omniq.AtTick() (value of struct type omniq.Promise[omniq.Tick]) as omniq.Promise[args] value in argument to report.On

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

type args struct{ Day string }

var report = omniq.ReferArgs[args, string]("report")

func main() {
	_, err := omniq.Schedule(context.Background(), nil, "nightly", omniq.Cron("@daily", ""), report.On(omniq.AtTick()))
	if err != nil {
		panic(err)
	}
}
