package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// maxMembers is how many members of a flow are looked at, for the graph and the list.
const maxMembers = 1000

// seenFlow is what is known of a flow.
type seenFlow struct {
	Stats   omniq.FlowStats
	Members []*omniq.TaskInfo
	Graph   *graph
}

// flowRow is a flow as it is listed.
type flowRow struct {
	Newest *omniq.TaskInfo  // its newest member of those that were looked at
	Stats  *omniq.FlowStats // nil if there was no time to ask for them
}

// foundFlows are flows of one page.
type foundFlows struct {
	Rows []flowRow
	Next string // where the next page begins, empty after the last
}

// listFlows looks for the flows of one page of tasks: each once in it.
func (h *Handler) listFlows(ctx context.Context, from string) (foundFlows, error) {
	seen := map[uuid.UUID]bool{uuid.Nil: true}
	members, err := h.list(ctx, omniq.Query{Where: func(info *omniq.TaskInfo) bool {
		known := seen[info.Flow]
		seen[info.Flow] = true
		return !known
	}}, from)
	if err != nil {
		return foundFlows{}, err
	}
	f := foundFlows{Next: members.Next}
	began := time.Now()
	for _, info := range members.Tasks {
		row := flowRow{Newest: info}
		if time.Since(began) < pageTime {
			stats, err := h.client.Flow(info.Flow).Stats(ctx)
			if errors.Is(err, omniq.ErrNotFound) { // meanwhile
				continue
			}
			if err != nil {
				return foundFlows{}, err
			}
			row.Stats = &stats
		}
		f.Rows = append(f.Rows, row)
	}
	return f, nil
}

func (h *Handler) flows(c *call) (page, error) {
	from := c.form.Get("from")
	f, err := see(c, "flows "+from, func(ctx context.Context) (foundFlows, error) { return h.listFlows(ctx, from) })
	if err != nil {
		return page{}, err
	}
	return page{name: "flows", Title: "Flows", Data: map[string]any{"Found": f, "From": from}}, nil
}

func (h *Handler) inspectFlow(ctx context.Context, id uuid.UUID) (*seenFlow, error) {
	flow := h.client.Flow(id)
	stats, err := flow.Stats(ctx)
	if err != nil {
		return nil, err
	}
	seen := &seenFlow{Stats: stats}
	for info, err := range flow.Tasks(ctx) {
		if err != nil {
			return nil, err
		}
		if seen.Members = append(seen.Members, info); len(seen.Members) == maxMembers {
			break
		}
	}
	seen.Graph = newGraph(seen.Members)
	brief(seen.Members...)
	return seen, nil
}

func (h *Handler) flow(c *call) (page, error) {
	id, err := c.id()
	if err != nil {
		return page{}, err
	}
	seen, err := see(c, "flow "+id.String(), func(ctx context.Context) (*seenFlow, error) { return h.inspectFlow(ctx, id) })
	if errors.Is(err, omniq.ErrNotFound) {
		return page{}, &statusError{http.StatusNotFound, fmt.Sprintf("There is no flow %v: it was never enqueued, or the time of its results is over.", id)}
	}
	if err != nil {
		return page{}, err
	}
	data := map[string]any{
		"ID": id, "Stats": &seen.Stats, "Status": seen.Stats.Status(), "Graph": seen.Graph, "Members": seen.Members,
		"More": max(seen.Stats.Members()-len(seen.Members), 0),
	}
	return page{name: "flow", Title: "Flow", Data: data}, nil
}

// onFlow is an action on the flow that a form names.
func (h *Handler) onFlow(done string, do func(omniq.Flow, context.Context) (int, error)) func(*call) (string, error) {
	return func(c *call) (string, error) {
		id, err := c.id()
		if err != nil {
			return "", err
		}
		_, err = do(h.client.Flow(id), c.ctx)
		return address("flow", "of", id.String(), "done", done), err
	}
}
