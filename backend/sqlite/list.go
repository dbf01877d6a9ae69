package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// listing is a walk over rows in the order of their seq, among them all those that are listed. It names what is walked,
// because what SQLite knows of the sizes of tables may be old. The arguments of its statements are ?1 after which seq, ?2
// up to which, ?3 now, ?4 how many, ?5 the status and ?6 the queue.
type listing struct {
	columns string
	from    string
	all     string // the condition of all that is walked
	shown   string // the condition of what is listed
}

var (
	listPending = listing{
		taskInfo, "omniq_tasks NOT INDEXED", "", "state IN (0, 1) AND (deadline IS NULL OR deadline > ?3) AND ",
	}
	listWaiting = listing{
		taskInfo, "omniq_tasks INDEXED BY omniq_tasks_waiting", "state = 7 AND ", "(deadline IS NULL OR deadline > ?3) AND ",
	}
	listRunning = listing{taskInfo, "omniq_tasks INDEXED BY omniq_tasks_running", "state = 2 AND ", "wake > ?3 AND "}
	listSuccess = listing{resultInfo, "omniq_results NOT INDEXED", "", "status = ?5 AND (expires IS NULL OR expires > ?3) AND "}
	listOther   = listing{
		resultInfo, "omniq_results INDEXED BY omniq_results_unsuccessful", "status > 3 AND status = ?5 AND ",
		"(expires IS NULL OR expires > ?3) AND ",
	}
	listEnded = listing{ // of a queue
		resultInfo, "omniq_results INDEXED BY omniq_results_queue", "queue = ?6 AND status = ?5 AND ",
		"(expires IS NULL OR expires > ?3) AND ",
	}
)

func listingOf(r *omniq.ListRequest) listing {
	switch {
	case r.Status == omniq.StatusPending:
		return listPending
	case r.Status == omniq.StatusWaiting:
		return listWaiting
	case r.Status == omniq.StatusRunning:
		return listRunning
	case r.Queue != "":
		return listEnded
	case r.Status == omniq.StatusSuccess:
		return listSuccess
	}
	return listOther
}

// edge finds the seq of the row that is ?4 rows behind the first one.
func (l listing) edge() string {
	return "SELECT seq FROM " + l.from + " WHERE " + l.all + "seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?4"
}

// page finds what is listed of some rows.
func (l listing) page(queue, lane string) string {
	q := "SELECT seq, " + l.columns + " FROM " + l.from + " WHERE " + l.all + l.shown
	if queue != "" {
		q += "queue = ?6 AND "
	}
	switch {
	case lane == "":
	case l.columns == taskInfo:
		q += "lane = ?7 AND "
	default:
		q += "CASE WHEN json_valid(task) THEN task ->> '$.lane' = ?7 END AND "
	}
	return q + "seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?4"
}

// List returns a page of the tasks in a state: see [omniq.TaskQueue].
func (b *Backend) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if err := engine.CheckList(&r); err != nil {
		return nil, "", err
	}
	var after int64
	if r.After != "" {
		var err error
		if after, err = strconv.ParseInt(r.After, 10, 64); err != nil || after < 0 {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
	}
	var page []*omniq.TaskInfo
	var next int64
	err := b.caughtUp(ctx, func(c *conn) (err error) {
		look := list
		if r.Flow != uuid.Nil {
			look = listFlow
		}
		var found []tiedInfo
		if found, next, err = look(c, &r, after, b.config.clock().UnixMicro()); err != nil {
			return err
		}
		if r.Flow != uuid.Nil && r.Lane != "" {
			found = slices.DeleteFunc(found, func(i tiedInfo) bool { return i.Lane != r.Lane })
		}
		page = make([]*omniq.TaskInfo, len(found))
		for i := range found {
			if page[i] = found[i].TaskInfo; found[i].ties != 0 {
				err = errors.Join(err, found[i].complete(c))
			}
		}
		return err
	})
	if err != nil || next == 0 {
		return page, "", err
	}
	return page, strconv.FormatInt(next, 10), nil
}

// list returns a page, and after which row the next one begins, 0 for none. It looks at few rows at a time.
func list(c *conn, r *omniq.ListRequest, after, now int64) (page []tiedInfo, next int64, err error) {
	const few = 500
	l := listingOf(r)
	var last int64
	for range omniq.MaxListed / few {
		args := []driver.Value{after, int64(math.MaxInt64), now, int64(few - 1), int64(r.Status), r.Queue}
		if r.Lane != "" {
			args = append(args, r.Lane)
		}
		edge, err := one(c, l.edge(), args...)
		if err != nil {
			return nil, 0, err
		}
		if edge != 0 {
			args[1] = edge
		}
		args[3] = int64(r.Max-len(page)) + 1
		err = c.query(l.page(r.Queue, r.Lane), func(v []driver.Value) error {
			if len(page) == r.Max {
				next = last
				return nil
			}
			info, err := inspect(v, 0) // the query has looked at the time
			page, last = append(page, info), v[0].(int64)
			return err
		}, args...)
		if err != nil || next != 0 || edge == 0 {
			return page, next, err
		}
		after = edge
	}
	return page, after, nil
}
