package sqlite

import "slices"

// without returns the ops whose callers are still there.
func without(ops []*op) []*op {
	kept := ops[:0]
	for _, o := range ops {
		if !o.gone() {
			kept = append(kept, o)
		}
	}
	clear(ops[len(kept):])
	return kept
}

// except returns the parked ops that are still to be served.
func except(parked, served []*op) []*op {
	if len(served) == 0 {
		return without(parked)
	}
	kept := parked[:0]
	for _, o := range parked {
		if len(served) > 0 && served[0] == o {
			served = served[1:] // they are in the same order
			continue
		}
		if !o.gone() {
			kept = append(kept, o)
		}
	}
	clear(parked[len(kept):])
	return kept
}

// stirs reports whether there may be something for the parked ops, without a lock.
func (w *writer) stirs() bool {
	looked := make(map[string]bool)
	for _, o := range w.parked {
		if o.queues == nil {
			n, err := one(w.c, "SELECT 1 FROM omniq_revoked WHERE worker = ? LIMIT 1", o.worker)
			if n != 0 || err != nil {
				return true
			}
		}
		for _, q := range o.queues {
			if looked[q] {
				continue
			}
			looked[q] = true
			n, err := one(w.c, `SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE state = 1 AND lane IS NULL AND queue = ?1)
				OR EXISTS (SELECT 1 FROM omniq_tasks WHERE state = 1 AND lane IS NOT NULL AND queue = ?1)`, q)
			if n != 0 || err != nil {
				return true
			}
		}
	}
	return false
}

// serve does the parked ops for which there may be something now, or all of them, and returns those that have found it.
func (w *writer) serve(t *tx, all bool) (served []*op, err error) {
	empty := make(map[string]bool) // queues in which the next ones need not look
	for _, o := range w.parked {
		stirs := o.stirs(t)
		if all {
			stirs = o.queues == nil || slices.ContainsFunc(o.queues, func(q string) bool { return !empty[q] })
		}
		if !stirs || !o.take() {
			continue
		}
		switch err := o.do(t); {
		case err == errPark:
			o.empty(t)
			for _, q := range o.queues {
				empty[q] = true
			}
			o.park()
		case err != nil:
			return append(served, o), err
		default:
			served = append(served, o)
		}
	}
	return served, nil
}

// again performs those ops that the transaction has got something for.
func again(t *tx, ops []*op) (finished, parked []*op, err error) {
	for _, o := range ops {
		if !o.stirs(t) {
			parked = append(parked, o)
			continue
		}
		found, not, err := perform(t, []*op{o})
		if err != nil {
			return nil, nil, err
		}
		if len(not) > 0 {
			o.empty(t)
		}
		finished, parked = append(finished, found...), append(parked, not...)
	}
	return finished, parked, nil
}
