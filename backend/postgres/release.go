package postgres

import (
	"time"

	"github.com/google/uuid"
)

// released are the tasks whose last edges a transaction has closed.
type released struct {
	b      *Backend
	queues map[string]bool // that have got tasks that are ready
	next   coming
}

// row reads a row of releaseThen: the task, and what it needs and has ended otherwise.
func (r *released) row(row scanner) (id uuid.UUID, unmet *string, err error) {
	var queue string
	var rank int64
	var due time.Time
	var state int16
	var soon *int64
	if err := row.Scan((*[16]byte)(&id), &unmet, &queue, &rank, &due, &state, &soon); err != nil {
		return id, nil, err
	}
	r.next.add(soon)
	if state == stateReady {
		r.b.floors.ready(queue, rank, due)
		if r.queues == nil {
			r.queues = make(map[string]bool)
		}
		r.queues[queue] = true
	}
	return id, unmet, nil
}

func (r *released) topics() []topic {
	topics := make([]topic, 0, len(r.queues))
	for q := range r.queues {
		topics = append(topics, queueTopic(q))
	}
	return topics
}

// announce tells those who wait for tasks.
func (r *released) announce() {
	if len(r.queues) > 0 {
		r.b.tell(r.topics()...)
	}
	r.next.poke(r.b.maintainer)
}
