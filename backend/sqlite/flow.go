package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Resolve ends manual tasks: see [omniq.TaskQueue].
func (b *Backend) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResolutions(results); err != nil {
		return nil, err
	}
	envelopes := make([]string, len(results))
	for i, r := range results {
		var err error
		if envelopes[i], err = encodeResult(r); err != nil {
			return nil, err
		}
	}
	results = slices.Clone(results)
	return b.each(ctx, len(results), func(t *tx, i int) (refused, err error) {
		r, err := t.find(results[i].TaskID)
		if err != nil {
			return nil, err
		}
		if r == nil || r.ties&tieManual == 0 {
			return t.not("a manual one that waits", r, results[i].TaskID)
		}
		if _, err := t.q.exec("DELETE FROM omniq_tasks WHERE seq = ?", r.seq); err != nil {
			return nil, err
		}
		return nil, t.finish(r, results[i], envelopes[i])
	})
}

// flowOf returns the flow of which a task is a member, zero for none.
func flowOf(q querier, id uuid.UUID) (flow uuid.UUID, err error) {
	err = q.query("SELECT flow FROM omniq_members WHERE id = ?", func(v []driver.Value) error { flow = idOf(v[0]); return nil }, id[:])
	return flow, err
}

// lastMember is the number of the last member of a flow, 0 for none.
func lastMember(q querier, flow uuid.UUID) (int64, error) {
	return one(q, "SELECT member FROM omniq_members WHERE flow = ? ORDER BY member DESC LIMIT 1", flow[:])
}

// kept reports whether there is a flow: a member that is a task, or a result whose time is not over.
func (t *tx) kept(flow uuid.UUID) (bool, error) {
	n, err := one(t.q, `SELECT 1 FROM omniq_members m WHERE m.flow = ?1 AND (
			EXISTS (SELECT 1 FROM omniq_tasks t WHERE t.id = m.id) OR
			EXISTS (SELECT 1 FROM omniq_results r WHERE r.id = m.id AND (r.expires IS NULL OR r.expires > ?2)))
		LIMIT 1`, flow[:], t.us)
	return n != 0, err
}

// mayJoin is [impossible] if a new task cannot be a member of its flow.
func (t *tx) mayJoin(n *newTask, j *joint, flows map[uuid.UUID]bool) error {
	if !flows[n.flow] && n.flow != j.grows {
		known, err := t.kept(n.flow)
		if err != nil {
			return err
		}
		if known {
			return impossible{fmt.Errorf("%w: task %v is of flow %v, which is stored already: only its members can add to it",
				omniq.ErrState, n.id, n.flow)}
		}
	}
	flows[n.flow] = true
	return nil
}

// join makes a new task of a call a member of its flow.
func (t *tx) join(n *newTask, j *joint) (err error) {
	last, known := t.members[n.flow]
	if !known {
		if last, err = lastMember(t.q, n.flow); err != nil {
			return err
		}
		if t.members == nil {
			t.members = make(map[uuid.UUID]int64)
		}
	}
	t.members[n.flow] = last + 1
	j.members = append(j.members, n.flow[:], last+1, n.id[:])
	return nil
}

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue].
func (b *Backend) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	n := 0
	for c := (cancelling{flow: flow}); ; {
		ended, next := 0, c
		err := b.write(ctx, func(t *tx) (err error) {
			next = c
			ended, err = next.some(t)
			return err
		})
		if err != nil {
			return n, err
		}
		n, c = n+ended, next
		switch {
		case !c.known:
			return 0, omniq.ErrNotFound
		case c.done:
			return n, nil
		}
	}
}

// cancelling is how far a call of CancelFlow has come. It goes from the last member down to the first, so that none ends because
// of another, and then to those that have come meanwhile.
type cancelling struct {
	flow         uuid.UUID
	known        bool  // anything is kept of the flow
	from, at, to int64 // members from at down to above from are to be looked at, of those up to to
	done         bool
}

// some cancels some members, and returns how many.
func (c *cancelling) some(t *tx) (n int, err error) {
	if !c.known {
		if c.known, err = t.kept(c.flow); !c.known || err != nil {
			return 0, err
		}
	}
	allowed := t.allowed
	_, err = within(&allowed, func() (more bool, err error) {
		if c.at == c.from {
			c.from = c.to
			if c.to, err = lastMember(t.q, c.flow); err != nil || c.to <= c.from {
				c.done = true
				return false, err
			}
			c.at = c.to
		}
		floor := max(c.at-4*stride, c.from)
		var ids []uuid.UUID
		err = t.q.query(`SELECT t.id FROM omniq_members m CROSS JOIN omniq_tasks t ON t.id = m.id
			WHERE m.flow = ? AND m.member <= ? AND m.member > ? ORDER BY m.member DESC LIMIT ?`,
			func(v []driver.Value) error { ids = append(ids, idOf(v[0])); return nil }, c.flow[:], c.at, floor, int64(stride))
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			r, err := t.find(id)
			if err != nil {
				return false, err
			}
			if r == nil { // it has expired
				continue
			}
			if err := t.cancel(r); err != nil {
				return false, err
			}
			n++
		}
		if len(ids) < stride {
			c.at = floor
		}
		return true, nil
	})
	return n, err
}

// FlowStats returns figures of a flow: see [omniq.TaskQueue]. Its time is that of the number of members.
func (b *Backend) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	var stats omniq.FlowStats
	err := b.caughtUp(ctx, func(c *conn) (err error) {
		stats, err = readFlow(c, flow, b.config.clock())
		return err
	})
	if err == nil && stats.Members() == 0 {
		err = omniq.ErrNotFound
	}
	return stats, err
}

func readFlow(c *conn, flow uuid.UUID, now time.Time) (s omniq.FlowStats, err error) {
	const q = `SELECT count(*) FILTER (WHERE t.state = 7), count(*) FILTER (WHERE t.state < 2), count(*) FILTER (WHERE t.state = 2),
			count(*) FILTER (WHERE r.status = 3), count(*) FILTER (WHERE r.status = 4), count(*) FILTER (WHERE r.status = 5),
			count(*) FILTER (WHERE r.status = 6)
		FROM omniq_members m LEFT JOIN omniq_tasks t ON t.id = m.id
		LEFT JOIN omniq_results r ON t.seq IS NULL AND r.id = m.id AND (r.expires IS NULL OR r.expires > ?2)
		WHERE m.flow = ?1`
	err = c.query(q, func(v []driver.Value) error {
		for i, n := range []*int{&s.Waiting, &s.Pending, &s.Running, &s.Succeeded, &s.Failed, &s.Cancelled, &s.Expired} {
			*n = int(v[i].(int64))
		}
		return nil
	}, flow[:], now.UnixMicro())
	return s, err
}

// Members of flows as a list walks over them: those that are tasks, and those that are results.
var (
	listMembers = listing{taskInfo, "", "", "", "error", "$"}
	listEnds    = listing{resultInfo, "", "", "", "CASE WHEN status > 3 THEN result END", "$.error"}
)

// membersQuery finds members of a flow. Its arguments are ?1 now, ?2 and ?3 which states, ?4 how many, ?5 the flow, ?6 the queue, ?7
// after which member, ?8 up to which, and those of the filter.
func membersQuery(r *omniq.ListRequest) (q string, args []driver.Value) {
	args = make([]driver.Value, 8)
	tasks := listMembers.filter(r, &args)
	args = args[:8]
	ends := listEnds.filter(r, &args) // of the same numbers
	between, order := "m.member > ?7 AND m.member <= ?8", "ORDER BY member"
	if r.Newest {
		between, order = "m.member < ?7 AND m.member >= ?8", "ORDER BY member DESC"
	}
	return "SELECT member, t." + taskInfo + ` FROM omniq_members m CROSS JOIN omniq_tasks t INDEXED BY omniq_tasks_id ON t.id = m.id
		WHERE m.flow = ?5 AND ` + between + " AND " + tasks + `t.state BETWEEN ?2 AND ?3
		UNION ALL SELECT member, r.` + resultInfo + ` FROM omniq_members m CROSS JOIN omniq_results r INDEXED BY omniq_results_id ON r.id = m.id
		WHERE m.flow = ?5 AND ` + between + " AND " + ends + `r.status BETWEEN ?2 AND ?3 AND (r.expires IS NULL OR r.expires > ?1)
		` + order + " LIMIT ?4", args
}

// listFlow returns a page of members of a flow, and after which number the next one begins, 0 for none.
func listFlow(c *conn, r *omniq.ListRequest, after, now int64) (page []tiedInfo, next int64, err error) {
	const few = 500
	from, to := int64(r.Status), int64(r.Status) // the numbers of other states are those of statuses
	switch r.Status {
	case 0:
		from, to = 0, stateWaiting
	case omniq.StatusPending:
		from, to = stateScheduled, stateReady
	}
	end, err := lastMember(c, r.Flow)
	if err != nil {
		return nil, 0, err
	}
	q, args := membersQuery(r)
	args[0], args[1], args[2], args[4], args[5] = now, from, to, r.Flow[:], r.Queue
	step := int64(few)
	if r.Newest {
		step = -few
		if after == 0 {
			after = end + 1
		}
		end = 1
	}
	var at int64 // the last of the page
	more := false
	for looked, until := 0, time.Now().Add(listPatience); looked < omniq.MaxListed; looked += few {
		upto := after + step
		args[3], args[6], args[7] = int64(r.Max-len(page))+1, after, upto
		err = c.query(q, func(v []driver.Value) error {
			if more = len(page) == r.Max; more {
				return errEnough
			}
			info, err := inspect(v, 0) // the query has looked at the time
			page, at = append(page, info), v[0].(int64)
			return err
		}, args...)
		switch {
		case more:
			return page, at, nil
		case err != nil || !r.Newest && upto >= end || r.Newest && upto <= end:
			return page, 0, err
		}
		if after = upto; time.Now().After(until) {
			break
		}
	}
	return page, after, nil
}
