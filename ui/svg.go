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

// spark draws bars, one for each minute: what has succeeded, and on top of it what has failed.
func spark(succeeded, failed []int) template.HTML {
	const width, height, bar = 3, 24, 2
	most, done, bad := 1, 0, 0
	for i := range succeeded {
		most = max(most, succeeded[i]+failed[i])
		done, bad = done+succeeded[i], bad+failed[i]
	}
	var good, ill strings.Builder
	for i := range succeeded {
		high := func(n int) int {
			if n == 0 {
				return 0
			}
			return max(n*height/most, 1)
		}
		g, f := high(succeeded[i]), high(failed[i])
		g = min(g, height-f)
		box := func(b *strings.Builder, y, h int) {
			if h > 0 {
				_, _ = fmt.Fprintf(b, "M%d %dh%dv%dh-%dz", i*width, y, bar, h, bar)
			}
		}
		box(&good, height-g, g)
		box(&ill, height-g-f, f)
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 %d %d" role="img" aria-label="%s succeeded and %s failed in the last hour">`+
		`<path class="base" d="M0 %d.5h%d"/><path class="success" d="%s"/><path class="failure" d="%s"/></svg>`,
		len(succeeded)*width, height+1, count(done), count(bad), height, len(succeeded)*width, good.String(), ill.String()))
}

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
	at    int // in its layer, from the top
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
	g := &graph{Nodes: nodes}
	if len(nodes) > maxNodes {
		return &graph{Hidden: true}
	}
	g.place(order(nodes))
	g.connect()
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

// dependencies are the tasks that a member waits for or has waited for, also before it handed over to others.
func dependencies(info *omniq.TaskInfo) []uuid.UUID {
	var ids []uuid.UUID
	for _, d := range info.After {
		ids = append(ids, d.ID)
	}
	if info.Task != nil {
		for _, d := range info.Task.After {
			if !slices.Contains(ids, d.ID) {
				ids = append(ids, d.ID)
			}
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

// place gives each node its place.
func (g *graph) place(layers [][]*node) {
	tallest := 0
	for _, layer := range layers {
		tallest = max(tallest, len(layer))
	}
	g.Width = 2*margin + len(layers)*(nodeWidth+gapX) - gapX
	g.Height = 2*margin + tallest*(nodeHeight+gapY) - gapY
	for x, layer := range layers {
		top := margin + (tallest-len(layer))*(nodeHeight+gapY)/2
		for y, n := range layer {
			n.X, n.Y = margin+x*(nodeWidth+gapX), top+y*(nodeHeight+gapY)
		}
	}
}

// connect draws a line for each dependency.
func (g *graph) connect() {
	for _, n := range g.Nodes {
		for _, other := range g.Nodes { // in order, so that the drawing stays the same
			if !n.to[other] {
				continue
			}
			x1, y1, x2, y2 := n.X+nodeWidth, n.Y+nodeHeight/2, other.X, other.Y+nodeHeight/2
			half := (x2 - x1) / 2
			g.Edges = append(g.Edges, template.HTMLAttr(fmt.Sprintf(`d="M%d %dC%d %d %d %d %d %d"`, x1, y1, x1+half, y1, x2-half, y2, x2, y2)))
		}
	}
}

// Times tells of a node how many tasks it stands for, empty for one.
func (n *node) Times() string {
	if n.Count == 1 {
		return ""
	}
	return " × " + strconv.Itoa(n.Count)
}
