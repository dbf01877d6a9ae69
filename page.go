package omniq

import (
	"context"
	"fmt"
)

// Page returns one page of the tasks that a request means, and where the next one begins: empty after the last. It is one call of
// the engine, for tools that show tasks page by page and bound what each page costs: see [TaskQueue].List. A page may be short
// or empty although there is a next one. To read all tasks there are [Client.Search] and [Flow.Tasks].
func (c *Client) Page(ctx context.Context, request ListRequest) (page []*TaskInfo, next string, err error) {
	if err := c.check(); err != nil {
		return nil, "", err
	}
	if request.Max < 1 {
		return nil, "", invalid("a page of at most %d tasks, want at least 1", request.Max)
	}
	if request.Status == StatusWaiting && !c.backend.Capabilities().Flows {
		return nil, "", nil // there are none
	}
	page, next, err = c.backend.List(ctx, request)
	if err != nil {
		return nil, "", fmt.Errorf("omniq: page of tasks: %w", err)
	}
	return page, next, nil
}
