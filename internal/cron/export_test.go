package cron

import "time"

// Steps returns how many months and stretches Next looks at.
func Steps(e Expression, after time.Time, zone *time.Location) int {
	w := walk{expression: e, zone: zone}
	w.next(after.Unix())
	return w.steps
}
