package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// The items of a task's streams are numbered while its row is locked: whoever reads does not miss one.
const keepNotes = `WITH
	noted AS (
		UPDATE {s}.tasks t SET progress = coalesce(i.progress, t.progress), saved = coalesce(i.saved, t.saved),
			tie = coalesce(t.tie, CASE WHEN i.streams THEN t.seq END)
		FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::boolean[]) AS i (id, token, progress, saved, streams)
		WHERE ` + holding + ` RETURNING t.id, i.token, t.tie),
	added AS (
		INSERT INTO {s}.items (tie, name, data) SELECT n.tie, i.name, i.data
		FROM unnest($6::uuid[], $7::text[], $8::text[]) WITH ORDINALITY AS i (id, name, data, n) JOIN noted n ON n.id = i.id ORDER BY i.n)
	SELECT id, token FROM noted`

// noting are notes of leases, as the parameters of a statement.
type noting struct {
	ids             list[pgtype.UUID]
	tokens          list[int64]
	progress, saved list[pgtype.Text]
	streams         list[bool]
	tasks           list[pgtype.UUID] // of the items
	names, data     list[string]
}

// mergeNotes are the notes of some leases, in the order in which rows are locked.
func mergeNotes(held []hold, notes map[hold]*omniq.Notes) *noting {
	m := &noting{tasks: list[pgtype.UUID]{}, names: list[string]{}, data: list[string]{}}
	for _, h := range held {
		n := notes[h]
		m.ids, m.tokens = append(m.ids, uuidOf(h.id)), append(m.tokens, h.token)
		m.progress, m.saved = append(m.progress, textOf(string(n.Progress))), append(m.saved, textOf(string(n.State)))
		m.streams = append(m.streams, len(n.Stream) > 0)
		for _, item := range n.Stream {
			m.tasks, m.names, m.data = append(m.tasks, uuidOf(h.id)), append(m.names, item.Name), append(m.data, string(item.Data))
		}
	}
	return m
}

func (m *noting) args() []any {
	return []any{m.ids, m.tokens, m.progress, m.saved, m.streams, m.tasks, m.names, m.data}
}

// Note keeps what handlers have to say of their tasks: see [omniq.TaskQueue]. It waits for locked rows as Extend does.
func (b *Backend) Note(ctx context.Context, list []omniq.LeaseNotes) ([]error, error) {
	refused := make([]error, len(list))
	for i := range list {
		refused[i] = list[i].Validate()
	}
	t, err := b.note(ctx, list, refused)
	if refusal(err) {
		if err = b.refuseNotes(ctx, list, refused); err == nil {
			t, err = b.note(ctx, list, refused)
		}
	}
	if err != nil {
		return nil, err
	}
	errs, err := t.report(ctx)
	if err != nil {
		return nil, err
	}
	var topics []topic
	for i := range list {
		if errs != nil && errs[i] != nil {
			continue
		}
		if refused[i] != nil {
			errs = engine.Report(errs, len(list), i, refused[i])
		} else if len(list[i].Stream) > 0 {
			topics = append(topics, streamTopic(list[i].TaskID))
		}
	}
	b.tell(topics...)
	return errs, nil
}

// note keeps those of the notes that are not refused.
func (b *Backend) note(ctx context.Context, list []omniq.LeaseNotes, refused []error) (*touching, error) {
	leases, notes := make([]omniq.LeaseID, len(list)), make(map[hold]*omniq.Notes)
	for i := range list {
		leases[i] = list[i].LeaseID
		h, ok := holdOf(list[i].LeaseID)
		if !ok {
			continue
		}
		if notes[h] == nil {
			notes[h] = new(omniq.Notes)
		}
		if n := notes[h]; refused[i] == nil {
			if from := &list[i].Notes; from.Progress != nil {
				n.Progress = from.Progress
			}
			if list[i].State != nil {
				n.State = list[i].State
			}
			n.Stream = append(n.Stream[:len(n.Stream):len(n.Stream)], list[i].Stream...)
		}
	}
	t := b.newTouching(leases)
	return t, t.do(ctx, func(held []hold) []stmt {
		return []stmt{{sql: b.sql.of(keepNotes), args: mergeNotes(held, notes).args(), row: t.row}}
	})
}

// refuseNotes finds out which of the notes the database cannot store.
func (b *Backend) refuseNotes(ctx context.Context, list []omniq.LeaseNotes, refused []error) error {
	var texts []string
	var of []int
	for i := range list {
		if refused[i] != nil {
			continue
		}
		all := []string{string(list[i].Progress), string(list[i].State)}
		for _, item := range list[i].Stream {
			all = append(all, item.Name, string(item.Data))
		}
		for _, text := range all {
			texts, of = append(texts, text), append(of, i)
		}
	}
	found, err := b.refused(ctx, texts)
	for place, err := range found {
		refused[of[place]] = fmt.Errorf("%w: postgres: notes of task %v: %w", omniq.ErrInvalid, list[of[place]].TaskID, err)
	}
	return err
}
