package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

const (
	// How many inputs tasks have, how long their envelopes are together, and whether one is gone.
	sizeInputs = `SELECT i.tie, count(r.id), coalesce(sum(octet_length(r.result)), 0)::bigint, bool_or(e.input AND r.id IS NULL)
		FROM ` + inputs + " GROUP BY i.tie"

	loadInputs = "SELECT i.tie, e.n, e.dep, r.result FROM " + inputs + " ORDER BY i.tie, e.n"

	inputs = `unnest($1::bigint[], $2::boolean[]) AS i (tie, passed)
		CROSS JOIN LATERAL (SELECT * FROM {s}.edges e WHERE e.tie = i.tie AND e.passed = i.passed OFFSET 0) e
		LEFT JOIN LATERAL (SELECT r.id, r.result FROM {s}.results r WHERE r.id = e.dep AND e.input OFFSET 0) r ON true`
)

// errGone says that a result that was an input was removed by hand, or before the task was seen that needs it.
var errGone = errors.New("one of its inputs is gone")

// given are the inputs of a task.
type given struct {
	list []*omniq.RawResult
	size int64 // bytes of what they hand on
	err  error // one of them cannot be read, or is gone
}

// over reports whether they are too many to be handed out.
func (g *given) over() bool { return g.size > omniq.MaxInputs }

// inputs returns the inputs of tasks, by their ties. Those of a task that has too many stay where they are.
func (b *Backend) inputs(ctx context.Context, got []leased) (map[int64]*given, error) {
	var ties list[int64]
	var passed list[bool]
	for i := range got {
		if l := &got[i]; l.tie != nil {
			ties, passed = append(ties, *l.tie), append(passed, l.resumed != nil && *l.resumed)
		}
	}
	if len(ties) == 0 {
		return nil, nil
	}
	all := make(map[int64]*given)
	err := b.search(ctx, stmt{sql: b.sql.of(sizeInputs), args: []any{ties, passed}, row: func(row scanner) error {
		var tie, n, size int64
		var gone bool
		err := row.Scan(&tie, &n, &size, &gone)
		g := new(given)
		all[tie] = g
		const around = 1 << 10 // bytes of an envelope beside its data, which may be base64
		switch {
		case gone:
			g.err = errGone
		case size*3/4-n*around > omniq.MaxInputs:
			g.size = size
		}
		return err
	}})
	if err != nil {
		return nil, err
	}
	var few list[int64]
	var fewPassed list[bool]
	for i, tie := range ties {
		if g := all[tie]; g != nil && g.err == nil && !g.over() {
			few, fewPassed = append(few, tie), append(fewPassed, passed[i])
		}
	}
	if len(few) == 0 {
		return all, nil
	}
	return all, b.search(ctx, stmt{sql: b.sql.of(loadInputs), args: []any{few, fewPassed}, row: func(row scanner) error {
		var tie int64
		var n int
		var dep uuid.UUID
		var envelope *string
		err := row.Scan(&tie, &n, (*[16]byte)(&dep), &envelope)
		if err == nil {
			all[tie].add(dep, envelope)
		}
		return err
	}})
}

// add adds the next input, nil for a dependency whose result is none.
func (g *given) add(dep uuid.UUID, envelope *string) {
	if g.err != nil || g.over() {
		return
	}
	if envelope == nil {
		g.list = append(g.list, nil)
		return
	}
	r := new(omniq.RawResult)
	if err := decodeResult(dep, *envelope, r); err != nil {
		g.err = err
		return
	}
	g.size += int64(len(r.ResultData))
	g.list = append(g.list, r)
	if g.over() {
		g.list = nil
	}
}

// giveBack ends leases that cannot be handed out now, because their inputs could not be read. If that fails, they run out.
func (b *Backend) giveBack(ctx context.Context, got []leased) {
	all := make([]omniq.Settlement, len(got))
	for i := range got {
		all[i] = omniq.Settlement{LeaseID: got[i].lease(), Action: omniq.ActionRelease}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = b.Settle(ctx, all)
}
