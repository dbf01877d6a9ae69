package engine

import (
	"encoding/json"
	"time"

	"github.com/omniq-go/omniq"
)

// Worker is what an engine keeps of a worker: the JSON of what it has told, and when. What cannot be read, because somebody has
// written it by hand, is left out: the worker is shown all the same, and no other one is hidden.
func Worker(id string, seen time.Time, info string) omniq.WorkerInfo {
	var w omniq.WorkerInfo
	if err := json.Unmarshal([]byte(info), &w); err != nil {
		w = omniq.WorkerInfo{}
	}
	w.ID, w.Seen, w.Started = id, seen, seen.Add(-w.Up)
	return w
}
