package ui

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// graph is a flow as it is drawn: tasks in columns, each to the right of those that it depends on.
type graph struct {
	Width, Height int
	Nodes         []*node
	Edges         []template.HTMLAttr // the d of each path

	Hidden bool // it is too large to be drawn
}

// node is a task, or several of the same function, place and state where there are many.
type node struct {
	X, Y    int
	Label   string
	Name    string
	Status  omniq.Status
	Count   int
	ID      uuid.UUID // of the first
	Address string

	layer int
	at    int  // in its layer, from the top
	bend  bool // it is no task: a line goes through here
	from  map[*node]bool
	to    map[*node]bool
	rank  float64
}

// Sizes of the drawing, in pixels.
const (
	nodeWidth  = 190
	nodeHeight = 44
	gapX       = 60
	gapY       = 14
	margin     = 8
	maxLabel   = 24 // characters
	maxNodes   = 150
	groupFrom  = 40 // members, from which on like ones are drawn as one
)

// newGraph lays a flow out. It is nil without members.
func newGraph(members []*omniq.TaskInfo) *graph {
	if len(members) == 0 {
		return nil
	}
	slices.SortFunc(members, func(a, b *omniq.TaskInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	nodes := nodesOf(members, layersOf(members), len(members) >= groupFrom)
	if len(nodes) > maxNodes {
		return &graph{Hidden: true}
	}
	late(nodes)
	g := &graph{Nodes: nodes}
	all, lines := bent(nodes)
	g.place(order(all))
	for _, line := range lines {
		g.Edges = append(g.Edges, curve(line))
	}
	return g
}

// layersOf tells how far each member is from the start, by the longest way. It does not call itself: a chain may be long.
func layersOf(members []*omniq.TaskInfo) map[uuid.UUID]int {
	followers, left := make(map[uuid.UUID][]uuid.UUID), make(map[uuid.UUID]int)
	for _, m := range members {
		left[m.ID] += 0
	}
	for _, m := range members {
		for _, id := range dependencies(m) {
			if _, member := left[id]; member {
				followers[id] = append(followers[id], m.ID)
				left[m.ID]++
			}
		}
	}
	layers := make(map[uuid.UUID]int, len(members))
	var next []uuid.UUID
	for _, m := range members {
		if left[m.ID] == 0 {
			next = append(next, m.ID)
		}
	}
	for len(next) > 0 {
		id := next[0]
		next = next[1:]
		for _, f := range followers[id] {
			layers[f] = max(layers[f], layers[id]+1)
			if left[f]--; left[f] == 0 {
				next = append(next, f)
			}
		}
	}
	return layers
}

// dependencies are the tasks that a member waits for or has waited for, also before it handed over to others. There may be very many,
// and most of them stand twice.
func dependencies(info *omniq.TaskInfo) []uuid.UUID {
	var ids []uuid.UUID
	for _, d := range info.After {
		ids = append(ids, d.ID)
	}
	if info.Task != nil {
		for _, d := range info.Task.After {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// nodesOf makes a node of each member, or of those that are alike.
func nodesOf(members []*omniq.TaskInfo, layers map[uuid.UUID]int, grouped bool) []*node {
	type kind struct {
		layer  int
		name   string
		status omniq.Status
		id     uuid.UUID
	}
	kinds := make(map[kind]*node)
	of := make(map[uuid.UUID]*node, len(members))
	var nodes []*node
	for _, m := range members {
		k := kind{layers[m.ID], m.FuncName, m.Status, m.ID}
		if grouped {
			k.id = uuid.Nil
		}
		n := kinds[k]
		if n == nil {
			n = &node{Name: m.FuncName, Status: m.Status, ID: m.ID, layer: k.layer, from: make(map[*node]bool), to: make(map[*node]bool)}
			kinds[k], nodes = n, append(nodes, n)
		}
		n.Count++
		of[m.ID] = n
	}
	for _, m := range members {
		for _, id := range dependencies(m) {
			if from, to := of[id], of[m.ID]; from != nil && from != to {
				from.to[to], to.from[from] = true, true
			}
		}
	}
	for _, n := range nodes {
		n.Label, n.Address = label(n.Name), address("task", "of", n.ID.String())
		if n.Count > 1 {
			n.Address = address("tasks", "q", terms("flow", members[0].Flow, "name", n.Name, "status", n.Status))
		}
	}
	return nodes
}

// late puts what depends on nothing next to what depends on it first.
func late(nodes []*node) {
	for _, n := range nodes {
		if len(n.from) > 0 || len(n.to) == 0 {
			continue
		}
		least := maxMembers
		for other := range n.to {
			least = min(least, other.layer-1)
		}
		n.layer = max(least, n.layer)
	}
}

// bent returns the nodes with those through which long lines go, so that no line goes behind a task; and the lines.
func bent(nodes []*node) (all []*node, lines [][]*node) {
	all = slices.Clone(nodes)
	for _, n := range nodes {
		for _, other := range nodes { // in order, so that the drawing stays the same
			if !n.to[other] {
				continue
			}
			line, last := []*node{n}, n
			for layer := n.layer + 1; layer < other.layer && len(all) < 20*maxNodes; layer++ {
				bend := &node{layer: layer, bend: true, from: map[*node]bool{last: true}, to: map[*node]bool{other: true}}
				all, line, last = append(all, bend), append(line, bend), bend
			}
			lines = append(lines, append(line, other))
		}
	}
	return all, lines
}

// label is the end of a name, which tells more than its beginning.
func label(name string) string {
	runes := []rune(name)
	if len(runes) <= maxLabel {
		return name
	}
	return "…" + string(runes[len(runes)-maxLabel+1:])
}

// order puts the nodes of each layer so that few lines cross: each near the middle of those that it is tied to.
func order(nodes []*node) [][]*node {
	var layers [][]*node
	for _, n := range nodes {
		for len(layers) <= n.layer {
			layers = append(layers, nil)
		}
		layers[n.layer] = append(layers[n.layer], n)
	}
	number := func(layer []*node) {
		for i, n := range layer {
			n.at = i
		}
	}
	for _, layer := range layers {
		number(layer)
	}
	for round := range 4 {
		for i := range layers {
			layer, tied := layers[i], func(n *node) map[*node]bool { return n.from }
			if round%2 == 1 {
				layer, tied = layers[len(layers)-1-i], func(n *node) map[*node]bool { return n.to }
			}
			for _, n := range layer {
				n.rank = middle(tied(n), float64(n.at))
			}
			slices.SortStableFunc(layer, func(a, b *node) int { return cmp.Compare(a.rank, b.rank) })
			number(layer)
		}
	}
	return layers
}

func middle(nodes map[*node]bool, otherwise float64) float64 {
	if len(nodes) == 0 {
		return otherwise
	}
	sum := 0
	for n := range nodes {
		sum += n.at
	}
	return float64(sum) / float64(len(nodes))
}

// high is how much room a node needs.
func (n *node) high() int {
	if n.bend {
		return gapY
	}
	return nodeHeight
}

// place gives each node its place: each layer in the middle.
func (g *graph) place(layers [][]*node) {
	high := func(layer []*node) (sum int) {
		for _, n := range layer {
			sum += n.high() + gapY
		}
		return sum - gapY
	}
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, high(layer))
	}
	g.Width = 2*margin + len(layers)*(nodeWidth+gapX) - gapX
	g.Height = 2*margin + tallest
	for x, layer := range layers {
		y := margin + (tallest-high(layer))/2
		for _, n := range layer {
			n.X, n.Y = margin+x*(nodeWidth+gapX), y
			y += n.high() + gapY
		}
	}
}

// curve is the line from a task through bends to another.
func curve(line []*node) template.HTMLAttr {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, `d="M%d %d`, line[0].X+nodeWidth, line[0].Y+nodeHeight/2)
	x, y := line[0].X+nodeWidth, line[0].Y+nodeHeight/2
	for _, n := range line[1:] {
		half := (n.X - x) / 2
		to := n.Y + n.high()/2
		_, _ = fmt.Fprintf(&b, "C%d %d %d %d %d %d", x+half, y, n.X-half, to, n.X, to)
		if x, y = n.X, to; n.bend {
			x += nodeWidth
			_, _ = fmt.Fprintf(&b, "H%d", x)
		}
	}
	b.WriteByte('"')
	return template.HTMLAttr(b.String())
}

// Times tells of a node how many tasks it stands for, empty for one.
func (n *node) Times() string {
	if n.Count == 1 {
		return ""
	}
	return " × " + strconv.Itoa(n.Count)
}
