package ui

import (
	"context"

	"github.com/omniq-go/omniq"
)

// maxGroups is how many groups of errors are shown.
const maxGroups = 200

func (h *Handler) errors(c *call) (page, error) {
	queue, err := c.text("queue")
	if err != nil {
		return page{}, err
	}
	groups, err := see(c, "errors "+queue, func(ctx context.Context) ([]omniq.ErrorGroup, error) {
		return h.client.ErrorGroups(ctx, omniq.Query{Queue: queue})
	})
	if err != nil {
		return page{}, err
	}
	looked := 0
	for i := range groups {
		looked += groups[i].Count
	}
	data := map[string]any{
		"Groups": groups[:min(len(groups), maxGroups)], "More": max(len(groups)-maxGroups, 0), "Queue": queue,
		"Full": looked >= omniq.MaxGrouped, "Most": omniq.MaxGrouped,
	}
	return page{name: "errors", Title: "Errors", Data: data}, nil
}
