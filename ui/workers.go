package ui

import (
	"context"
	"slices"

	"github.com/omniq-go/omniq"
)

// Bounds of what is shown of workers.
const (
	maxRunning = 200 // tasks that run, of all workers
	maxPlaces  = 20  // queues and functions of one worker
)

// workerRow is a worker as it is listed.
type workerRow struct {
	omniq.WorkerInfo
	Tasks []*omniq.TaskInfo // what runs on it, as far as that is shown
}

// workers shows those that are there; of a host, and of those that take tasks from a queue, if the address says so.
func (h *Handler) workers(c *call) (page, error) {
	host, err := c.text("host")
	if err != nil {
		return page{}, err
	}
	queue, err := c.text("queue")
	if err != nil {
		return page{}, err
	}
	workers, err := c.workers()
	if err != nil {
		return page{}, err
	}
	running, err := see(c, "running", func(ctx context.Context) (found, error) {
		tasks, next, err := h.client.Page(ctx, omniq.ListRequest{Status: omniq.StatusRunning, Newest: true, Max: maxRunning})
		return found{brief(tasks...), next}, err
	})
	if err != nil {
		return page{}, err
	}
	of := make(map[string][]*omniq.TaskInfo)
	for _, info := range running.Tasks {
		of[info.WorkerID] = append(of[info.WorkerID], info)
	}
	rows := make([]workerRow, 0, len(workers))
	for _, w := range workers {
		if running.Next == "" {
			w.Running = len(of[w.ID]) // a worker says it only each third of its lease
		}
		if (host == "" || w.Host == host) && (queue == "" || slices.Contains(w.Queues, queue)) {
			rows = append(rows, workerRow{w, of[w.ID]})
		}
		delete(of, w.ID)
	}
	gone := 0
	for _, tasks := range of {
		gone += len(tasks)
	}
	data := map[string]any{"Rows": rows, "Host": host, "Queue": queue, "All": len(workers), "Gone": gone, "More": running.Next != "", "Most": maxRunning, "Places": maxPlaces}
	return page{name: "workers", Title: "Workers", Data: data}, nil
}
