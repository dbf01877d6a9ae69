package memory

import (
	"time"

	"github.com/omniq-go/omniq"
)

// trouble is what has gone wrong with a task: few have any.
type trouble struct {
	failure *omniq.TaskError // of the last attempt that failed, nil for none
	lost    int              // attempts whose leases expired
	shunned time.Time        // when the first of the workers in a row that cannot run it gave it back, zero for none
}

// past is the trouble that there was.
func (e *entry) past() trouble {
	if e.trouble == nil {
		return trouble{}
	}
	return *e.trouble
}

// troubled returns the task's trouble, to note some.
func (e *entry) troubled() *trouble {
	if e.trouble == nil {
		e.trouble = new(trouble)
	}
	return e.trouble
}

// accepted ends that one worker after the other gives the task back.
func (e *entry) accepted() {
	if e.trouble != nil {
		e.trouble.shunned = time.Time{}
	}
}
