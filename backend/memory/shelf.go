package memory

import (
	"cmp"
	"slices"

	"github.com/omniq-go/omniq"
)

// shelf has the tasks of one status, or of one flow, in the order in which they came. A task that stays keeps its place.
type shelf struct {
	rows []row // with ascending numbers
	free int   // rows whose task has left
}

type row struct {
	number uint64
	task   *entry // nil when it has left
}

// add puts a task at the end, in a place with a number above all others.
func (s *shelf) add(e *entry, number uint64) {
	s.rows = append(s.rows, row{number, e})
}

// remove takes a task out that has a number.
func (s *shelf) remove(number uint64) {
	s.rows[s.after(number-1)].task = nil
	s.free++
	for len(s.rows) > 0 && s.rows[0].task == nil {
		s.rows = s.rows[1:]
		s.free--
	}
	switch live := len(s.rows) - s.free; {
	case live == 0:
		s.rows, s.free = nil, 0
	case s.free > live && s.free > 64:
		kept := make([]row, 0, live+live/4)
		for _, r := range s.rows {
			if r.task != nil {
				kept = append(kept, r)
			}
		}
		s.rows, s.free = kept, 0
	}
}

// after is the index of the first row whose number is higher.
func (s *shelf) after(number uint64) int {
	i, _ := slices.BinarySearchFunc(s.rows, number, func(r row, n uint64) int {
		if r.number <= n {
			return -1
		}
		return cmp.Compare(r.number, n)
	})
	return i
}

// page returns the next tasks that a list wants, after a number, and the number of the last one that was looked at: zero if
// nothing comes after it.
func (s *shelf) page(r *omniq.ListRequest, after uint64) (page []*entry, last uint64) {
	looked := 0
	for _, row := range s.rows[s.after(after):] {
		e := row.task
		if e == nil {
			continue
		}
		if looked == omniq.MaxListed || len(page) == r.Max {
			return page, last
		}
		looked++
		last = row.number
		if (r.Queue == "" || e.queue.name == r.Queue) && (r.Status == 0 || e.status == r.Status) {
			page = append(page, e)
		}
	}
	return page, 0
}
