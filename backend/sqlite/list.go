package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"math"
	"strconv"
	"time"

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
	why     string // the column with the error
	path    string // where it is there
}

var (
	listPending = listing{
		taskInfo, "omniq_tasks NOT INDEXED", "", "state IN (0, 1) AND (deadline IS NULL OR deadline > ?3) AND ", "error", "$",
	}
	listWaiting = listing{
		taskInfo, "omniq_tasks INDEXED BY omniq_tasks_waiting", "state = 7 AND ", "(deadline IS NULL OR deadline > ?3) AND ", "error", "$",
	}
	listRunning = listing{taskInfo, "omniq_tasks INDEXED BY omniq_tasks_running", "state = 2 AND ", "wake > ?3 AND ", "error", "$"}
	listSuccess = listing{resultInfo, "omniq_results NOT INDEXED", "", "status = ?5 AND (expires IS NULL OR expires > ?3) AND ", "NULL", "$"}
	listOther   = listing{
		resultInfo, "omniq_results INDEXED BY omniq_results_unsuccessful", "status > 3 AND status = ?5 AND ",
		"(expires IS NULL OR expires > ?3) AND ", "result", "$.error",
	}
	listEnded = listing{ // of a queue
		resultInfo, "omniq_results INDEXED BY omniq_results_queue", "queue = ?6 AND status = ?5 AND ",
		"(expires IS NULL OR expires > ?3) AND ", "CASE WHEN status > 3 THEN result END", "$.error",
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

// walk is one list's way over rows.
type walk struct {
	edge string // finds the seq of the row that is ?4 rows behind the first one
	page string // finds what is listed of some rows
	args []driver.Value
}

// walk makes the statements for what is asked.
func (l listing) walk(r *omniq.ListRequest, now int64) walk {
	after, upto, order := "seq > ?1 ", "seq <= ?2 ", "ORDER BY seq "
	if r.Newest {
		after, upto, order = "seq < ?1 ", "seq >= ?2 ", "ORDER BY seq DESC "
	}
	w := walk{args: []driver.Value{nil, nil, now, nil, int64(r.Status), r.Queue}}
	conditions := l.filter(r, &w.args)
	w.edge = "SELECT seq FROM " + l.from + " WHERE " + l.all + after + order + "LIMIT 1 OFFSET ?4"
	w.page = "SELECT seq, " + l.columns + " FROM " + l.from + " WHERE " + l.all + l.shown + conditions + after + "AND " + upto + order + "LIMIT ?4"
	return w
}

// filter is the condition of what a request wants. Its arguments are added to others, of which ?6 is the queue.
func (l listing) filter(r *omniq.ListRequest, args *[]driver.Value) (q string) {
	with := func(value string) string {
		*args = append(*args, value)
		return "?" + strconv.Itoa(len(*args))
	}
	if r.Queue != "" {
		q += "queue = ?6 AND "
	}
	switch {
	case r.Lane == "":
	case l.columns == taskInfo:
		q += "lane = " + with(r.Lane) + " AND "
	default:
		q += "CASE WHEN json_valid(task) THEN task ->> '$.lane' = " + with(r.Lane) + " END AND "
	}
	if r.Name != "" {
		q += "name = " + with(r.Name) + " AND "
	}
	if r.Worker != "" {
		q += "worker = " + with(r.Worker) + " AND "
	}
	if r.Contains != "" {
		text := with(r.Contains)
		q += "(instr(task, " + text + ") OR CASE WHEN json_valid(" + l.why + ") THEN instr(" + l.why + " ->> '" + l.path + ".message', " + text +
			") OR instr(" + l.why + " ->> '" + l.path + ".type', " + text + ") END) AND "
	}
	return q
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

// listPatience is for how long a list looks. It looks at few rows at a time.
const listPatience = 8 * time.Millisecond

// list returns a page, and after which row the next one begins, 0 for none.
func list(c *conn, r *omniq.ListRequest, after, now int64) (page []tiedInfo, next int64, err error) {
	few := 500
	if r.Contains != "" { // which are read whole
		few = 100
	}
	last := int64(math.MaxInt64)
	if r.Newest {
		if after == 0 {
			after = last
		}
		last = math.MinInt64
	}
	w := listingOf(r).walk(r, now)
	var at int64 // the last of the page
	for looked, end := 0, time.Now().Add(listPatience); looked < omniq.MaxListed; looked += few {
		w.args[0], w.args[3] = after, int64(few-1)
		edge, err := one(c, w.edge, w.args[:6]...)
		if err != nil {
			return nil, 0, err
		}
		w.args[1], w.args[3] = last, int64(r.Max-len(page))+1
		if edge != 0 {
			w.args[1] = edge
		}
		err = c.query(w.page, func(v []driver.Value) error {
			if len(page) == r.Max {
				next = at
				return nil
			}
			info, err := inspect(v, 0) // the query has looked at the time
			page, at = append(page, info), v[0].(int64)
			return err
		}, w.args...)
		if err != nil || next != 0 || edge == 0 {
			return page, next, err
		}
		if after = edge; time.Now().After(end) {
			break
		}
	}
	return page, after, nil
}
