package memory

// line has tasks in the order in which they are leased. Each comes at its end.
type line struct {
	tasks []*entry // nil for one that has left; neither the first nor the last is
	begin int      // where they begin
	free  int      // of tasks, and before begin: those that have left
}

// smallLine is how large the array of a line may be that is kept while it is empty.
const smallLine = 1024

func (l *line) first() *entry {
	if l.begin == len(l.tasks) {
		return nil
	}
	return l.tasks[l.begin]
}

func (l *line) last() *entry {
	if l.begin == len(l.tasks) {
		return nil
	}
	return l.tasks[len(l.tasks)-1]
}

// push puts a task at the end.
func (l *line) push(e *entry) {
	if len(l.tasks) == cap(l.tasks) && l.free > len(l.tasks)/2 {
		l.close()
	}
	e.place, e.inLine = len(l.tasks), true
	l.tasks = append(l.tasks, e)
}

// close closes the gaps.
func (l *line) close() {
	n := 0
	for _, e := range l.tasks[l.begin:] {
		if e != nil {
			l.tasks[n], e.place = e, n
			n++
		}
	}
	clear(l.tasks[n:])
	l.tasks, l.begin, l.free = l.tasks[:n], 0, 0
}

// drop takes a task out.
func (l *line) drop(e *entry) {
	l.tasks[e.place] = nil
	e.place, e.inLine = -1, false
	l.free++
	for l.begin < len(l.tasks) && l.tasks[l.begin] == nil {
		l.begin++
	}
	for l.begin < len(l.tasks) && l.tasks[len(l.tasks)-1] == nil {
		l.tasks = l.tasks[:len(l.tasks)-1]
		l.free--
	}
	if l.begin == len(l.tasks) {
		l.tasks, l.begin, l.free = l.tasks[:0], 0, 0
		if cap(l.tasks) > smallLine {
			l.tasks = nil
		}
	} else if live := len(l.tasks) - l.free; cap(l.tasks) > smallLine && live < cap(l.tasks)/slack {
		l.close()
		l.tasks = append(make([]*entry, 0, 2*live), l.tasks...)
	}
}
