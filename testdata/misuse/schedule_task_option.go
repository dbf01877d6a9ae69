// want: does not implement omniq.ScheduleOption (missing method applySchedule)

package main

import (
	"context"

	"github.com/omniq-go/omniq"
)

var report = omniq.ReferArgs[omniq.Tick, string]("report")

func main() {
	_, err := omniq.Schedule(context.Background(), nil, "nightly", omniq.Cron("@daily", ""), report.On(omniq.AtTick()), omniq.Priority(1))
	if err != nil {
		panic(err)
	}
}
