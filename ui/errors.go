package ui

import (
	"context"
	"slices"

	"github.com/omniq-go/omniq"
)

// maxGroups is how many groups of errors are shown.
const maxGroups = 200

// seenErrors are the groups of errors of a queue, or of all.
type seenErrors struct {
	Groups []omniq.ErrorGroup
	More   int  // groups besides
	Full   bool // there are more tasks than are looked at
}

func (h *Handler) groupErrors(ctx context.Context, queue string) (*seenErrors, error) {
	groups, err := h.client.ErrorGroups(ctx, omniq.Query{Queue: queue})
	if err != nil {
		return nil, err
	}
	looked := 0
	for i := range groups {
		looked += groups[i].Count
	}
	shown := slices.Clone(groups[:min(len(groups), maxGroups)]) // the others are not kept
	for i := range shown {
		brief(shown[i].Newest)
	}
	return &seenErrors{shown, len(groups) - len(shown), looked >= omniq.MaxGrouped}, nil
}

func (h *Handler) errors(c *call) (page, error) {
	queue, err := c.text("queue")
	if err != nil {
		return page{}, err
	}
	seen, err := see(c, "errors "+queue, func(ctx context.Context) (*seenErrors, error) { return h.groupErrors(ctx, queue) })
	if err != nil {
		return page{}, err
	}
	data := map[string]any{"Groups": seen.Groups, "More": seen.More, "Full": seen.Full, "Queue": queue, "Most": omniq.MaxGrouped}
	return page{name: "errors", Title: "Errors", Data: data}, nil
}
