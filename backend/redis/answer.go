package redis

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// answers makes errors of what a script says of each item of a call: nothing for what went well, else a word and what belongs to it.
// Ids are of the items; other makes the errors that only this call has.
func answers(m rueidis.RedisMessage, ids []uuid.UUID, other func(i int, word string) error) ([]error, error) {
	list, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("redis: an answer that is not a list: %w", err)
	}
	var errs []error
	for i := range list {
		if list[i].IsNil() {
			continue
		}
		why, err := list[i].ToArray()
		if err != nil || len(why) == 0 || i >= len(ids) {
			return nil, fmt.Errorf("redis: an answer without a reason: %w", errPacked)
		}
		word, _ := why[0].ToString()
		var reason error
		if other != nil {
			reason = other(i, word)
		}
		if reason == nil {
			reason = reasonOf(ids[i], word, why[1:])
		}
		errs = engine.Report(errs, len(ids), i, reason)
	}
	return errs, nil
}

// reasonOf is the error that a word of a script stands for.
func reasonOf(id uuid.UUID, word string, with []rueidis.RedisMessage) error {
	text := func(i int) string {
		if i >= len(with) {
			return ""
		}
		s, _ := with[i].ToString()
		return s
	}
	number := func(i int) int64 {
		if i >= len(with) {
			return 0
		}
		n, _ := with[i].AsInt64()
		return n
	}
	status := func(i int) omniq.Status { return omniq.Status(number(i)) }
	switch word {
	case "not found":
		return omniq.ErrNotFound
	case "lost":
		return omniq.ErrLeaseLost
	case "cancelled":
		return omniq.ErrCancelled
	case "expired":
		return omniq.ErrExpired
	case "recorded":
		return omniq.ErrDuplicate
	case "queued":
		return omniq.ErrState
	case "state":
		return fmt.Errorf("%w: it is %v, want %s", omniq.ErrState, status(0), text(1))
	case "name":
		return fmt.Errorf("%w: it is named %q", omniq.ErrState, text(0))
	case "duplicate":
		return omniq.Duplicate{ID: id, Holder: idOf(text(0)), Replaced: number(1) == 1}
	case "needed":
		return fmt.Errorf("%w: its result is an input of a task that has not succeeded", omniq.ErrState)
	case "twice":
		return fmt.Errorf("%w: it stands in the call twice, and is requeued once", omniq.ErrState)
	case "used":
		return fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended", omniq.ErrState,
			idOf(text(0)), status(1))
	case "needs":
		return fmt.Errorf("%w: it needs task %v, which is %v: requeue that one", omniq.ErrState, idOf(text(0)), status(1))
	case "unknown":
		return fmt.Errorf("%w: task %v depends on task %v, which is unknown or gone", omniq.ErrNotFound, idOf(text(0)), idOf(text(1)))
	case "flow":
		return fmt.Errorf("%w: task %v is of flow %v, which is stored already: only its members can add to it", omniq.ErrState,
			idOf(text(0)), idOf(text(1)))
	case "circle":
		return fmt.Errorf("%w: task %v is to wait for task %v, which waits for it", omniq.ErrInvalid, idOf(text(0)), idOf(text(1)))
	case "invalid":
		inner, err := with[0].ToArray()
		if err != nil || len(inner) == 0 {
			return fmt.Errorf("%w: effects that cannot be", omniq.ErrInvalid)
		}
		what, _ := inner[0].ToString()
		return fmt.Errorf("%w: %w", omniq.ErrInvalid, reasonOf(id, what, inner[1:]))
	}
	return fmt.Errorf("redis: the script says %q", word)
}
