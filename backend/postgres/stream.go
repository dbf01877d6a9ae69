package postgres

import (
	"context"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// What there is in a stream, and whether the task has ended. A row without a number is for nothing.
const readStream = `SELECT t.final, t.overdue, t.over, i.n, i.data FROM (
		SELECT id, tie, false AS final, {overdue} AS overdue, false AS over FROM {s}.tasks WHERE id = $1
		UNION ALL
		SELECT id, tie, true, false, coalesce(expires <= {now}, false) FROM {s}.results WHERE id = $1) t
	LEFT JOIN LATERAL (SELECT i.n, i.data FROM {s}.items i WHERE i.tie = t.tie AND i.name = $2 AND i.n > $3
		ORDER BY i.n LIMIT $4) i ON true
	ORDER BY t.final, i.n`

// Stream returns items of a stream of a task, and waits for one if it is told to: see [omniq.ResultStore].
func (b *Backend) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	none := omniq.StreamPage{Next: r.After}
	if err := engine.CheckStream(&r); err != nil {
		return none, err
	}
	if err := b.alive(ctx); err != nil {
		return none, err
	}
	var timeout <-chan time.Time
	if r.Wait > 0 {
		timer := time.NewTimer(r.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	s := b.hub.subscribe(streamTopic(r.TaskID), resultTopic(r.TaskID))
	defer b.hub.cancel(s)
	poll := time.NewTicker(b.config.poll)
	defer poll.Stop()
	for waited := false; ; waited = true {
		page, err := b.streamPage(ctx, &r, waited)
		if err != nil {
			return none, err
		}
		if len(page.Items) > 0 || page.Ended || r.Wait <= 0 {
			return page, nil
		}
		select {
		case <-s.woken:
		case <-poll.C:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			return none, contextError(ctx)
		case <-b.closing:
			return none, omniq.ErrClosed
		}
	}
}

// streamPage returns the next items. Waited is for one who has seen the task before it was final.
func (b *Backend) streamPage(ctx context.Context, r *omniq.StreamRequest, waited bool) (omniq.StreamPage, error) {
	for {
		page := omniq.StreamPage{Next: r.After}
		var found, living, overdue, more bool
		read := stmt{sql: b.sql.of(readStream), args: []any{uuidOf(r.TaskID), r.Name, r.After, int64(r.Max) + 1}}
		read.row = func(row scanner) error {
			var final, late, over bool
			var n *int64
			var data *string
			if err := row.Scan(&final, &late, &over, &n, &data); err != nil {
				return err
			}
			if final && living || over && !waited { // a result of an earlier life, or one that is not kept
				return nil
			}
			found, living, overdue = true, !final, late
			switch {
			case n == nil:
			case len(page.Items) == r.Max:
				more = true
			default:
				page.Items, page.Next = append(page.Items, omniq.Raw(*data)), *n
			}
			return nil
		}
		if err := b.search(ctx, read); err != nil {
			return page, err
		}
		switch {
		case !found:
			return page, omniq.ErrNotFound
		case overdue:
			if err := b.wake(ctx, r.TaskID); err != nil {
				return page, err
			}
			continue
		}
		page.Ended = !living && !more
		return page, nil
	}
}
