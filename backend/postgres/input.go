package postgres

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// loadInputs reads what tasks wait for, with the results that are inputs of theirs: each as long as those of its task are not
// more than $3 bytes together up to it, and how long it is. They come in no order that is promised.
const loadInputs = `SELECT i.tie, e.n, e.dep, e.gone, e.size, CASE WHEN e.sum <= $3 THEN e.result END
	FROM unnest($1::bigint[], $2::boolean[]) AS i (tie, passed)
	CROSS JOIN LATERAL (
		SELECT e.n, e.dep, e.input AND r.id IS NULL AS gone, octet_length(r.result) AS size, r.result,
			sum(octet_length(r.result)) OVER (ROWS UNBOUNDED PRECEDING) AS sum
		FROM (SELECT * FROM {s}.edges e WHERE e.tie = i.tie AND e.passed = i.passed OFFSET 0) e
		LEFT JOIN LATERAL (SELECT r.id, r.result FROM {s}.results r WHERE r.id = e.dep AND e.input OFFSET 0) r ON true OFFSET 0) e`

// errGone says that a result that was an input was removed by hand, or before the task was seen that needs it.
var errGone = errors.New("one of its inputs is gone")

// given are the inputs of a task.
type given struct {
	list  []input
	n     int   // of them
	size  int64 // bytes of what they hand on
	whole int64 // bytes of their envelopes
	held  bool  // some of them were left where they are: there may be too many
	err   error // one of them cannot be read, or is gone
}

// input is the dependency in a place, and its result: nil for one that is not to be handed out.
type input struct {
	n      int
	result *omniq.RawResult
}

// over reports whether they are too many to be handed out.
func (g *given) over() bool { return g.size > omniq.MaxInputs }

// around is how many bytes of an envelope are not its data, at the most in the mean.
const around = 1 << 10

// inputs returns the inputs of tasks, by their ties. Those of a task that has too many stay where they are.
func (b *Backend) inputs(ctx context.Context, got []leased) (map[int64]*given, error) {
	var ties list[int64]
	var passed list[bool]
	for i := range got {
		if l := &got[i]; l.tie != nil {
			ties, passed = append(ties, *l.tie), append(passed, l.resumed != nil && *l.resumed)
		}
	}
	all := make(map[int64]*given)
	if err := b.loadInputs(ctx, all, ties, passed, omniq.MaxInputs*4/3); err != nil {
		return nil, err
	}
	var more list[int64] // whose data, which may be base64, may be few enough nevertheless
	var morePassed list[bool]
	for i, tie := range ties {
		g := all[tie]
		switch {
		case g == nil || g.err != nil || !g.held:
		case g.whole*3/4-int64(g.n)*around > omniq.MaxInputs:
			g.size = g.whole
		default:
			more, morePassed = append(more, tie), append(morePassed, passed[i])
		}
	}
	return all, b.loadInputs(ctx, all, more, morePassed, math.MaxInt64)
}

// loadInputs adds the inputs of tasks of which those of one task have up to so many bytes.
func (b *Backend) loadInputs(ctx context.Context, all map[int64]*given, ties list[int64], passed list[bool], most int64) error {
	if len(ties) == 0 {
		return nil
	}
	for _, tie := range ties {
		delete(all, tie)
	}
	return b.search(ctx, stmt{sql: b.sql.of(loadInputs), args: []any{ties, passed, most}, row: func(row scanner) error {
		var tie int64
		var n int
		var dep uuid.UUID
		var gone bool
		var size *int64
		var envelope *string
		if err := row.Scan(&tie, &n, (*[16]byte)(&dep), &gone, &size, &envelope); err != nil {
			return err
		}
		g := all[tie]
		if g == nil {
			g = new(given)
			all[tie] = g
		}
		g.n++
		if gone {
			g.err = errGone
		}
		if size != nil {
			g.whole += *size
			g.held = g.held || envelope == nil
		}
		g.add(n, dep, envelope)
		return nil
	}})
}

// add adds an input. As soon as it is known that they are not handed out none is kept.
func (g *given) add(n int, dep uuid.UUID, envelope *string) {
	if g.err == nil && !g.held && !g.over() {
		in := input{n: n}
		if envelope != nil {
			in.result = new(omniq.RawResult)
			g.err = decodeResult(dep, *envelope, in.result)
			g.size += int64(len(in.result.ResultData))
		}
		g.list = append(g.list, in)
	}
	if g.err != nil || g.held || g.over() {
		g.list = nil
	}
}

// results are the inputs in their order.
func (g *given) results() []*omniq.RawResult {
	slices.SortFunc(g.list, func(x, y input) int { return cmp.Compare(x.n, y.n) })
	all := make([]*omniq.RawResult, len(g.list))
	for i := range g.list {
		all[i] = g.list[i].result
	}
	return all
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
