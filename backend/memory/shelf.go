package memory

import (
	"bytes"
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// shelf has the tasks of one status, or of one flow, in the order in which they came. A task that stays keeps its place.
type shelf struct {
	boards []board // none is empty, and their numbers ascend from one to the next
	first  int     // rows of the first board whose tasks have left, up to the first that is there
	rows   int     // from there on
	free   int     // of these: those whose task has left
	spare  board   // the last one that was taken away, for the next
}

// board is a part of a shelf, with ascending numbers.
type board []row

type row struct {
	number uint64
	task   *entry // nil when it has left
}

// A board of a large shelf has so many rows, the first one of a small shelf so few.
const (
	largeBoard = 512
	smallBoard = 8
)

// add puts a task at the end, in a place with a number above all others.
func (s *shelf) add(e *entry, number uint64) {
	last := len(s.boards) - 1
	if last < 0 || len(s.boards[last]) == cap(s.boards[last]) {
		if size := min(max(s.rows, smallBoard), largeBoard); cap(s.spare) < size {
			s.spare = make(board, 0, size)
		}
		s.boards, s.spare = append(s.boards, s.spare), nil
		last++
	}
	s.boards[last] = append(s.boards[last], row{number, e})
	s.rows++
}

// remove takes a task out that has a number.
func (s *shelf) remove(number uint64) {
	k, i := s.after(number - 1)
	s.boards[k][i].task = nil
	s.free++
	for s.rows > 0 && s.boards[0][s.first].task == nil {
		s.first++
		s.rows--
		s.free--
		if s.first == len(s.boards[0]) {
			s.spare, s.boards[0] = s.boards[0][:0], nil
			s.boards, s.first = s.boards[1:], 0
		}
	}
	if live := s.rows - s.free; s.free > live && s.free > 64 {
		var kept shelf
		for number, e := range s.from(0) {
			kept.add(e, number)
		}
		*s = kept
	}
}

// after is where the first row is whose number is higher: the index of its board, and that of the row there.
func (s *shelf) after(number uint64) (k, i int) {
	k, _ = slices.BinarySearchFunc(s.boards, number, func(b board, n uint64) int { return cmp.Compare(b[len(b)-1].number, n+1) })
	if k < len(s.boards) {
		i, _ = slices.BinarySearchFunc(s.boards[k], number, func(r row, n uint64) int { return cmp.Compare(r.number, n+1) })
	}
	return k, i
}

// from yields the tasks that are there whose numbers are higher, and these. Tasks may leave meanwhile.
func (s *shelf) from(number uint64) iter.Seq2[uint64, *entry] {
	return func(yield func(uint64, *entry) bool) {
		k, i := s.after(number)
		for _, b := range s.boards[k:] {
			for _, r := range b[i:] {
				if r.task != nil && !yield(r.number, r.task) {
					return
				}
			}
			i = 0
		}
	}
}

// before yields the tasks that are there whose numbers are lower, and these, the last first. Tasks may leave meanwhile.
func (s *shelf) before(number uint64) iter.Seq2[uint64, *entry] {
	return func(yield func(uint64, *entry) bool) {
		k, i := s.after(number - 1)
		if k == len(s.boards) {
			i = 0
		}
		for ; k >= 0; k-- {
			if k < len(s.boards) {
				for _, r := range slices.Backward(s.boards[k][:i]) {
					if r.task != nil && !yield(r.number, r.task) {
						return
					}
				}
			}
			if k > 0 {
				i = len(s.boards[k-1])
			}
		}
	}
}

// listPatience is for how long a list may keep the backend locked that looks into tasks. It looks at the clock now and then.
const listPatience = 5 * time.Millisecond

// page returns the next tasks that a list wants, after a number, and the number of the last one that was looked at: zero if
// nothing comes after it.
func (s *shelf) page(r *omniq.ListRequest, after uint64) (page []*entry, last uint64) {
	looked, end := 0, time.Now().Add(listPatience)
	rows := s.from(after)
	if r.Newest {
		if after == 0 {
			after = math.MaxUint64
		}
		rows = s.before(after)
	}
	l := look{ListRequest: r}
	for number, e := range rows {
		if looked == omniq.MaxListed || len(page) == r.Max || looked%64 == 63 && time.Now().After(end) {
			return page, last
		}
		looked++
		last = number
		if l.wants(e) {
			page = append(page, e)
		}
	}
	return page, 0
}

// look is what a list looks for.
type look struct {
	*omniq.ListRequest
	buf []byte
}

func (l *look) wants(e *entry) bool {
	return (l.Queue == "" || e.queue.name == l.Queue) && (l.Lane == "" || e.task != nil && e.task.Lane == l.Lane) &&
		(l.Status == 0 || e.status == l.Status) && (l.Name == "" || e.name == l.Name) && (l.Worker == "" || e.worker == l.Worker) &&
		(l.Contains == "" || l.finds(e))
}

// finds reports whether a task contains what is looked for.
func (l *look) finds(e *entry) bool {
	why := e.past().failure
	if e.result != nil {
		why = e.result.Error
	}
	if why != nil && (strings.Contains(why.Type, l.Contains) || strings.Contains(why.Message, l.Contains)) {
		return true
	}
	if e.task == nil {
		return false
	}
	var err error
	l.buf, err = e.task.AppendJSON(l.buf[:0])
	return err == nil && bytes.Contains(l.buf, []byte(l.Contains))
}
