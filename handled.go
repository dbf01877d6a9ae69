package omniq

import "github.com/google/uuid"

// Handled is a [Handle] of whatever type: what reads about a task that the type of its result does not matter for.
type Handled interface {
	handled() (*Client, uuid.UUID, error)
}

func (h *Handle[R]) handled() (*Client, uuid.UUID, error) {
	if err := h.check(); err != nil {
		return nil, uuid.Nil, err
	}
	return h.client, h.id, nil
}
