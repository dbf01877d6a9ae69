package ui

import (
	"net/http"

	"github.com/omniq-go/omniq"
)

// route is one thing that can be asked for. Exactly one of page, act and raw is set.
type route struct {
	method string
	path   string
	right  Rights // that is needed, besides View

	page func(*call) (page, error)             // shows something and changes nothing
	act  func(*call) (where string, err error) // changes something, and says where to go on
	raw  func(*call)                           // answers by itself

	shows   string // of an action: the path of the page that shows what it refuses
	maxForm int64  // bytes of its form; 0 for maxForm
}

// routes are all there are. All paths have one element: so links are relative, and hold below every prefix.
func (h *Handler) routes() []route {
	get := func(path string, right Rights, page func(*call) (page, error)) route {
		return route{method: http.MethodGet, path: path, right: right, page: page}
	}
	post := func(path, shows string, right Rights, act func(*call) (string, error)) route {
		return route{method: http.MethodPost, path: path, right: right, act: act, shows: shows}
	}
	enqueue := post("copy", "copy", Edit|Payloads, h.enqueueCopy)
	enqueue.maxForm = 4*maxCopied + maxForm
	return []route{
		get("", View, func(*call) (page, error) { return page{}, moved("queues") }),
		get("queues", View, h.queues),
		get("queue", View, h.queue),
		get("tasks", View, h.tasks),
		get("confirm", Act, h.confirm),
		get("task", View, h.task),
		get("copy", Edit|Payloads, h.copy),
		get("flows", View, h.flows),
		get("flow", View, h.flow),
		get("schedules", View, h.schedules),
		get("schedule", View, h.schedule),
		get("errors", View, h.errors),
		get("workers", View, h.workers),
		{method: http.MethodGet, path: "events", right: View, raw: h.events},
		{method: http.MethodGet, path: "metrics", right: View, raw: h.metrics},

		post("queue-pause", "queue", Act, h.pauseQueue),
		post("queue-resume", "queue", Act, h.resumeQueue),
		post("queue-limit", "queue", Edit, h.limitQueue),
		post("task-cancel", "task", Act, h.onTask("cancelled", h.client.Cancel)),
		post("task-requeue", "task", Act, h.onTask("requeued", h.client.Requeue)),
		post("task-run", "task", Act, h.onTask("due", h.client.RunNow)),
		post("task-back", "task", Act, h.onTask("back", h.giveBack)),
		post("task-forget", "task", Act, h.forgetTask),
		post("task-free", "task", Act, h.freeKey),
		enqueue,
		{method: http.MethodPost, path: "bulk", right: Act, raw: h.bulk},
		post("flow-cancel", "flow", Act, h.onFlow("cancelled", omniq.Flow.Cancel)),
		post("flow-requeue", "flow", Act, h.onFlow("requeued", omniq.Flow.Requeue)),
		post("flow-retry", "flow", Act, h.onFlow("requeued", omniq.Flow.RequeueFailed)),
		post("schedule-pause", "schedule", Act, h.pauseSchedule),
		post("schedule-resume", "schedule", Act, h.resumeSchedule),
		post("schedule-trigger", "schedule", Act, h.triggerSchedule),
		post("schedule-backfill", "schedule", Act, h.backfillSchedule),
		post("schedule-delete", "schedule", Edit, h.deleteSchedule),
	}
}

// find returns the route of a path.
func (h *Handler) find(name, method string) (route, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	err := error(&statusError{http.StatusNotFound, "There is no such page."})
	var methods []string
	for _, to := range h.table {
		if to.path != name {
			continue
		}
		if to.method == method {
			return to, nil
		}
		methods = append(methods, to.method)
		err = &methodError{methods}
	}
	return route{}, err
}
