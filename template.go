package omniq

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
)

// MaxScheduledCalls is how many calls the flow of a [Schedule] may have. A larger one begins with a call that adds the others: see
// [Enqueue], [Become] and Each.
const MaxScheduledCalls = 1000

// template is the calls of a schedule, each after those that it depends on: the last one is the run's. It is the same for the
// same calls: their tasks have places in it instead of IDs, and no time.
type template []templateCall

type templateCall struct {
	Task *RawTask `json:"task"`
	Tick bool     `json:"tick,omitempty"` // it takes the tick
}

var templateTime = time.Unix(0, 0).UTC()

// placeID is the ID in a template of the call with a number, from 0.
func placeID(n int) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n+1))
	return id
}

func placeOf(id uuid.UUID) int { return int(binary.BigEndian.Uint64(id[8:])) - 1 }

// newTemplate makes a template of a call and all that it is made of, with payloads of a codec.
func newTemplate(c *Client, n *node, writer codec.Codec) (template, error) {
	g := newGraph(writer, c.origin)
	g.ticks = make(map[uuid.UUID]bool)
	if err := g.add(n); err != nil {
		return nil, err
	}
	if len(g.tasks) > MaxScheduledCalls {
		return nil, invalid("the schedule's flow has %d calls, want at most %d: let one of them add the others", len(g.tasks), MaxScheduledCalls)
	}
	places := make(map[uuid.UUID]uuid.UUID, len(g.tasks))
	t := make(template, len(g.tasks))
	for i, task := range g.tasks {
		if !task.RunAt.IsZero() {
			return nil, g.fault(g.nodes[i], invalid("it has a RunAt, want a Delay: the schedule says when it runs"))
		}
		if err := c.complete(task); err != nil {
			return nil, g.fault(g.nodes[i], err)
		}
		if err := task.Validate(); err != nil {
			return nil, g.fault(g.nodes[i], err)
		}
		places[task.ID] = placeID(i)
		t[i] = templateCall{task, g.ticks[task.ID]}
		for j := range task.After {
			d := &task.After[j]
			place, ok := places[d.ID]
			if !ok {
				return nil, g.fault(g.nodes[i], invalid("it depends on task %v, which is stored already: a schedule's calls are stored at each tick", d.ID))
			}
			d.ID = place
		}
		task.ID, task.Flow, task.CreatedAt = places[task.ID], uuid.Nil, templateTime
	}
	if len(t) == 0 {
		return nil, invalid("the call is stored already: a schedule's calls are stored at each tick")
	}
	return t, nil
}

// UnmarshalJSON reads a call as it was stored.
func (c *templateCall) UnmarshalJSON(text []byte) error {
	var plain struct {
		Task json.RawMessage `json:"task"`
		Tick bool            `json:"tick"`
	}
	if err := json.Unmarshal(text, &plain); err != nil {
		return err
	}
	c.Task, c.Tick = new(RawTask), plain.Tick
	if err := c.Task.UnmarshalJSON(plain.Task); err != nil {
		return err
	}
	if c.Tick && c.Task.Input == "" {
		return errRecipe
	}
	return nil
}

// run returns the tasks of one run, the last of which has the ID, and their flow.
func (t template) run(tick *Tick, id uuid.UUID) (tasks []*RawTask, flow uuid.UUID, err error) {
	if flow, err = newID(); err != nil {
		return nil, flow, err
	}
	ids := make([]uuid.UUID, len(t))
	tasks = make([]*RawTask, len(t))
	for i, call := range t {
		if ids[i] = id; i < len(t)-1 {
			if ids[i], err = newID(); err != nil {
				return nil, flow, err
			}
		}
		task := *call.Task
		task.ID, task.CreatedAt = ids[i], now()
		if task.OnHeld == HeldRefuse {
			task.Flow = flow
		}
		task.Metadata = maps.Clone(task.Metadata)
		if task.Metadata == nil {
			task.Metadata = make(map[string]string, 2)
		}
		task.Metadata[MetadataSchedule], task.Metadata[MetadataTick] = tick.Schedule, tick.Time.Format(time.RFC3339Nano)
		if call.Tick {
			if task.Input, err = withTick(task.Input, tick); err != nil {
				return nil, flow, err
			}
		}
		task.After = slices.Clone(task.After)
		for j := range task.After {
			place := placeOf(task.After[j].ID)
			if place < 0 || place >= i {
				return nil, flow, fmt.Errorf("call %d depends on call %d", i, place)
			}
			task.After[j].ID = ids[place]
		}
		tasks[i] = &task
	}
	return tasks, flow, nil
}
