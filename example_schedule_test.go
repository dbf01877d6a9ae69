package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

var sendDigest = omniq.DefineArgs("digest.send", func(_ context.Context, a omniq.Args2[omniq.Tick, string]) (string, error) {
	tick := a.V1
	return fmt.Sprintf("to %s: what is new, by the %s", a.V2, tick.Cause), nil
})

// A schedule enqueues a call each time that it ticks. Any worker serves it.
func ExampleSchedule() {
	ctx := context.Background()
	backend := memory.New()
	defer func() { _ = backend.Close() }()
	client, _ := omniq.NewClient(backend)
	defer work(backend, omniq.Handlers(sendDigest))()

	s, err := omniq.Schedule(ctx, client, "digest", omniq.Cron("0 7 * * MON-FRI", "Europe/Berlin"),
		sendDigest.On(omniq.Join2(omniq.AtTick(), omniq.Value("ada@example.org"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := s.Trigger(ctx) // not to wait until it is seven
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Wait(ctx))
	// Output:
	// to ada@example.org: what is new, by the trigger <nil>
}

// A handle of any process looks after a schedule.
func ExampleScheduleHandle() {
	ctx := context.Background()
	backend := memory.New()
	defer func() { _ = backend.Close() }()
	client, _ := omniq.NewClient(backend)
	hourly := omniq.Every(time.Hour).Phase(5 * time.Minute)
	call := sendDigest.On(omniq.Join2(omniq.AtTick(), omniq.Value("ada@example.org")))
	if _, err := omniq.Schedule(ctx, client, "digest", hourly, call, omniq.Overlap(omniq.BufferOne), omniq.Spread(time.Minute)); err != nil {
		fmt.Println(err)
		return
	}

	s := client.Schedule("digest")
	_ = s.Pause(ctx, "on holiday")
	info, _ := s.Describe(ctx)
	fmt.Println(info.When, info.Overlap, info.Paused, info.Note)

	_ = s.Reschedule(ctx, info.Revision, omniq.Cron("@daily", ""))
	err := s.Reschedule(ctx, info.Revision, omniq.Every(time.Minute)) // of what is not there any more
	fmt.Println(errors.Is(err, omniq.ErrState))
	for info, err := range client.Schedules(ctx) {
		fmt.Println(info.Name, info.When, err)
	}
	fmt.Println(s.Delete(ctx))
	// Output:
	// every 1h0m0s from 5m0s buffer one true on holiday
	// true
	// digest cron "@daily" in UTC <nil>
	// <nil>
}

// A When tells its next ticks. In Berlin the clock leaves out 02:30 on the last Sunday of March.
func ExampleWhen_Next() {
	holidays := omniq.Cron("* * 25,26 12 *", "Europe/Berlin")
	nightly := omniq.Cron("30 2 * * *", "Europe/Berlin").Except(holidays)
	berlin, _ := time.LoadLocation("Europe/Berlin")
	for _, day := range []time.Time{time.Date(2027, 3, 27, 12, 0, 0, 0, berlin), time.Date(2027, 12, 24, 12, 0, 0, 0, berlin)} {
		tick, ok := nightly.Next(day)
		fmt.Println(tick.In(berlin).Format("2 January 15:04"), ok)
	}
	// Output:
	// 28 March 03:00 true
	// 27 December 02:30 true
}
