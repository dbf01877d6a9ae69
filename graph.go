package omniq

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
)

// graph makes tasks of promises, each after those that it depends on.
type graph struct {
	writer codec.Codec
	origin *origin // who stores it
	flow   uuid.UUID
	tasks  []*RawTask
	nodes  []*node // of tasks
	size   int     // how many tasks there are to be
	ids    map[uuid.UUID]*node
	base   *graph             // what is stored with it, nil for nothing
	ticks  map[uuid.UUID]bool // of a schedule: the calls that take a tick; nil for no schedule
}

func newGraph(writer codec.Codec, o *origin) *graph {
	return &graph{writer: writer, origin: o}
}

// add adds a call, and all that it is made of.
func (g *graph) add(n *node) error {
	switch {
	case n == nil:
		return errNoPromise
	case n.err == nil && n.kind != callNode:
		return invalid("%v is no call: give it to one", n.kind)
	}
	if g.flow == uuid.Nil {
		var err error
		if g.flow, err = newID(); err != nil {
			return err
		}
	}
	g.grow(n.args.width() + n.kwargs.width() + 1)
	return g.call(n)
}

// grow makes room for so many calls more.
func (g *graph) grow(n int) {
	if g.ids == nil {
		g.ids = make(map[uuid.UUID]*node, n)
	}
	g.tasks, g.nodes = slices.Grow(g.tasks, n), slices.Grow(g.nodes, n)
}

// call adds a call, after those that it depends on. It does not call itself: a chain may be long.
func (g *graph) call(n *node) error {
	type step struct {
		*node
		entered bool // those that it depends on have been added
	}
	for steps := []step{{node: n}}; len(steps) > 0; {
		s := steps[len(steps)-1]
		steps = steps[:len(steps)-1]
		if s.entered {
			if err := g.make(s.node); err != nil {
				return err
			}
			continue
		}
		if more, err := g.enter(s.node); err != nil {
			return err
		} else if !more {
			continue
		}
		steps = append(steps, step{s.node, true})
		from := len(steps)
		s.calls(func(dep *node) { steps = append(steps, step{node: dep}) })
		slices.Reverse(steps[from:]) // the first comes first
	}
	return nil
}

// enter reports whether a call is still to be added.
func (g *graph) enter(n *node) (bool, error) {
	if n.err != nil {
		return false, n.err
	}
	other := g.ids[n.head.ID]
	if other == nil && g.base != nil {
		other = g.base.ids[n.head.ID]
	}
	switch other {
	case nil:
	case n:
		return false, nil
	default:
		return false, g.fault(n, invalid("another call of the graph has its ID %v: a promise and what After has made of it, or an ID option that stands twice", n.head.ID))
	}
	g.ids[n.head.ID] = n
	if owner := n.owner.Load(); owner != nil {
		if !owner.same(g.origin) {
			return false, g.fault(n, invalid("task %v was stored by a client of another backend", n.head.ID))
		}
		return false, nil // and waited for
	}
	if g.size++; g.size > MaxDependencies {
		return false, invalid("the graph has more than %d calls", MaxDependencies)
	}
	return true, nil
}

// make adds the task of a call.
func (g *graph) make(n *node) error {
	t := *n.head
	t.CreatedAt = now()
	if t.OnHeld == HeldRefuse {
		t.Flow = g.flow
	}
	if err := n.encode(&t, g.writer); err != nil {
		return g.fault(n, err)
	}
	if err := g.link(n, &t); err != nil {
		return err
	}
	g.tasks = append(g.tasks, &t)
	g.nodes = append(g.nodes, n)
	return nil
}

// calls tells of those that a call depends on, in their order.
func (n *node) calls(tell func(*node)) {
	for _, part := range [...]*node{n.args, n.kwargs} {
		part.leaves(tell)
	}
	for _, other := range n.after {
		other.leaves(tell)
	}
}

// width is about how many calls a promise is made of.
func (n *node) width() int {
	if n == nil {
		return 0
	}
	return max(len(n.parts), 1)
}

// leaves tells of the calls that a promise is made of, and of what cannot be one.
func (n *node) leaves(tell func(*node)) {
	switch {
	case n == nil:
	case n.err != nil || n.kind == callNode:
		tell(n)
	default:
		for _, part := range n.parts {
			part.leaves(tell)
		}
	}
}

// fault says which call an error is about.
func (g *graph) fault(n *node, err error) error {
	return fmt.Errorf("omniq: call of %q: %w", n.head.FuncName, err)
}

// link sets what a task waits for, and how its arguments are made of that. These calls are there.
func (g *graph) link(n *node, t *RawTask) error {
	if n.args == nil && n.kwargs == nil && n.after == nil {
		return nil
	}
	width := n.args.width() + n.kwargs.width()
	l := linker{g: g, to: t.ID, after: make([]Dependency, 0, width+len(n.after)), at: make(map[uuid.UUID]int, width)}
	input := make(Raw, 0, 20+5*width)
	input = append(input, '{')
	for _, part := range []struct {
		key  string
		node *node
	}{{`"args":`, n.args}, {`"kwargs":`, n.kwargs}} {
		if part.node == nil {
			continue
		}
		input = append(input, part.key...)
		var err error
		if input, err = l.append(input, part.node, NeedSuccess); err != nil {
			return err
		}
		if n.each {
			input = append(input, `,"each":true`...)
		}
	}
	if len(input) > 1 {
		t.Input = string(append(input, '}'))
	}
	for _, other := range n.after {
		if other == nil {
			return g.fault(n, errNoPromise)
		}
		if err := l.order(other); err != nil {
			return err
		}
	}
	if len(l.after) > MaxDependencies {
		return g.fault(n, invalid("%d dependencies, want at most %d", len(l.after), MaxDependencies))
	}
	if len(l.after) > 0 {
		t.After = l.after
	}
	return nil
}

// linker gathers what one task waits for.
type linker struct {
	g     *graph
	to    uuid.UUID
	after []Dependency
	at    map[uuid.UUID]int // where each stands in after
}

// append appends how a value is made of the results of calls: a recipe. See [recipe].
func (l *linker) append(dst Raw, n *node, need Need) (Raw, error) {
	if n.err != nil {
		return nil, n.err
	}
	switch n.kind {
	case valueNode:
		data, name, err := n.value(l.g.writer)
		if err != nil {
			return nil, err
		}
		if len(data) == 0 {
			data = Raw("null")
		}
		dst = append(append(dst, `{"value":`...), data...)
		if name != "" {
			dst = strconv.AppendQuote(append(dst, `,"codec":`...), name)
		}
		return append(dst, '}'), nil
	case tickNode:
		if l.g.ticks == nil {
			return nil, invalid("AtTick is for the calls of a Schedule: there is no tick here")
		}
		l.g.ticks[l.to] = true
		return append(dst, `{"tick":true}`...), nil
	case settledNode:
		dst, err := l.append(append(dst, `{"settled":`...), n.parts[0], NeedFinal)
		return append(dst, '}'), err
	case listNode:
		dst = append(dst, '[')
		for i, part := range n.parts {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = l.append(dst, part, need); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	return strconv.AppendInt(dst, int64(l.depend(n, need, true)), 10), nil
}

// order adds the calls that a promise is made of as what the task waits for.
func (l *linker) order(n *node) error {
	if n.err != nil {
		return n.err
	}
	if n.kind == callNode {
		l.depend(n, NeedSuccess, false)
		return nil
	}
	for _, part := range n.parts {
		if err := l.order(part); err != nil {
			return err
		}
	}
	return nil
}

// depend makes the task wait for a call, and returns which of its dependencies that is.
func (l *linker) depend(n *node, need Need, input bool) int {
	i, ok := l.at[n.head.ID]
	if !ok {
		i = len(l.after)
		l.at[n.head.ID] = i
		l.after = append(l.after, Dependency{ID: n.head.ID, Need: need, Input: input})
		return i
	}
	d := &l.after[i]
	d.Input = d.Input || input
	d.Need = min(d.Need, need) // success is the stronger one
	return i
}

// merge adds the calls of another graph, whose base it is.
func (g *graph) merge(other *graph) {
	g.grow(len(other.ids))
	g.tasks, g.nodes = append(g.tasks, other.tasks...), append(g.nodes, other.nodes...)
	maps.Copy(g.ids, other.ids)
	g.flow = other.flow
}

// stored notes that the calls are stored. One that has taken the place of another task is none of the promise's own.
func (g *graph) stored() {
	for i, n := range g.nodes {
		if n.head.ID == g.tasks[i].ID {
			n.owner.Store(g.origin)
		}
	}
}
