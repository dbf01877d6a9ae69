package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"

	"github.com/omniq-go/omniq"
)

// What omniq_notes has of a task.
const (
	noteProgress int64 = 0
	noteState    int64 = 1
)

// Note keeps what handlers have to say of their tasks: see [omniq.TaskQueue].
func (b *Backend) Note(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
	notes = slices.Clone(notes)
	refused := make([]error, len(notes))
	for i := range notes {
		refused[i] = notes[i].Validate()
	}
	return b.each(ctx, len(notes), func(t *tx, i int) (error, error) {
		l := &notes[i]
		r, err := t.leased(l.LeaseID)
		switch {
		case err != nil:
			return nil, err
		case r == nil:
			return t.lost(l.LeaseID)
		case refused[i] != nil:
			return refused[i], nil
		}
		return nil, t.keepNotes(r, &l.Notes)
	})
}

// leased finds the task of a lease, as far as notes need it. It is nil if the lease is lost.
func (t *tx) leased(l omniq.LeaseID) (r *task, err error) {
	token, ok := parseToken(l.Token)
	if !ok {
		return nil, nil
	}
	err = t.q.query("SELECT seq, ties FROM omniq_tasks WHERE id = ? AND token = ? AND wake > ?", func(v []driver.Value) error {
		r = &task{id: l.TaskID, seq: v[0].(int64), ties: v[1].(int64)}
		return nil
	}, l.TaskID[:], token, t.us)
	return r, err
}

// keepNotes keeps what a handler has left of its task.
func (t *tx) keepNotes(r *task, n *omniq.Notes) error {
	if n.Empty() {
		return nil
	}
	if r.ties&tieNotes == 0 {
		r.ties |= tieNotes
		if _, err := t.q.exec("UPDATE omniq_tasks SET ties = ? WHERE seq = ?", r.ties, r.seq); err != nil {
			return err
		}
	}
	for kind, data := range []omniq.Raw{noteProgress: n.Progress, noteState: n.State} {
		if data == nil {
			continue
		}
		_, err := t.q.exec("INSERT INTO omniq_notes (id, kind, data) VALUES (?, ?, ?) ON CONFLICT (id, kind) DO UPDATE SET data = excluded.data",
			r.id[:], int64(kind), string(data))
		if err != nil {
			return err
		}
	}
	for _, item := range n.Stream {
		_, err := t.q.exec("INSERT INTO omniq_items (id, name, data) VALUES (?, ?, ?)", r.id[:], item.Name, string(item.Data))
		if err != nil {
			return err
		}
	}
	if len(n.Stream) > 0 {
		t.streams = append(t.streams, r.id)
	}
	return nil
}
