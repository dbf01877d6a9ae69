package postgres

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// looked is how many results whose time is over Stats looks at: some milliseconds.
const looked = 2000

// Pages are in the order of the IDs: the one thing of a task that stays what it is. What has ended without success is in the order in
// which it did. Each of these is in two parts: what is looked at, in that order and from a place on, and what of it is listed. The
// parameters are $1 and $10 after which place, $2 the queue, $3 how many, $4 how many are looked at, $5 the lane, $6 the function, $7 the
// worker, $8 text, $9 a part of it that stands in JSON as it is, and of a flow $10 which and $11 the status.
type listing struct {
	from, where string
	info        string
	why         string // where an error is
	order       string
}

const (
	byID   = "id"
	byTime = "since, id"

	// The index wants to see the condition on the status twice.
	unsuccessful = "{s}.results WHERE status > 3 AND (since, id) > ($10::timestamptz, $1::uuid) AND status = "
)

var listings = map[omniq.Status]listing{
	omniq.StatusPending:   {"{s}.tasks WHERE id > $1", "state BETWEEN 0 AND 1", taskInfo, "error", byID},
	omniq.StatusWaiting:   {"{s}.tasks WHERE id > $1", "state = -1", taskInfo, "error", byID},
	omniq.StatusRunning:   {"{s}.tasks WHERE state = 2 AND id > $1", "true", taskInfo, "error", byID},
	omniq.StatusSuccess:   {"{s}.results WHERE id > $1", "status = 3 AND " + keptResult, resultInfo, "NULL", byID},
	omniq.StatusFailure:   {unsuccessful + "4", keptResult, resultInfo, "result", byTime},
	omniq.StatusCancelled: {unsuccessful + "5", keptResult, resultInfo, "result", byTime},
	omniq.StatusExpired:   {unsuccessful + "6", keptResult, resultInfo, "result", byTime},
}

// The members of a flow: of a state or all.
var (
	openMembersOf = listing{
		"{s}.tasks WHERE flow = $10 AND id > $1",
		"CASE $11::smallint WHEN 0 THEN true WHEN 1 THEN state BETWEEN 0 AND 1 WHEN 2 THEN state = 2 WHEN 7 THEN state = -1 ELSE false END", taskInfo, "error", "flow, id",
	}
	finalMembersOf = listing{
		"{s}.results WHERE flow = $10 AND id > $1", "($11 = 0 OR status = $11) AND " + keptResult, resultInfo, "CASE WHEN status > 3 THEN result END", "flow, id",
	}
)

const keptResult = "(expires IS NULL OR expires > {now})"

// backwards makes a statement one for the same list backwards.
var backwards = strings.NewReplacer("id > $1", "id < $1", "ORDER BY id", "ORDER BY id DESC", "ORDER BY flow, id", "ORDER BY flow DESC, id DESC",
	"(since, id) >", "(since, id) <", "ORDER BY since, id", "ORDER BY since DESC, id DESC",
	"least(", "greatest(", "id <= (", "id >= (")

func direction(q string, newest bool) string {
	if newest {
		return backwards.Replace(q)
	}
	return q
}

// some are those that are listed of what is looked at, up to $3. An error may stand there in another form.
func (l listing) some() string {
	return l.info + "(SELECT * FROM " + l.from + " ORDER BY " + l.order + " LIMIT $4) l WHERE " + l.where +
		" AND ($2 = '' OR queue = $2) AND ($5 = '' OR lane = $5) AND ($6 = '' OR name = $6) AND ($7 = '' OR worker = $7)" +
		" AND ($8 = '' OR strpos(task, $8) > 0 OR strpos(" + l.why + ", $9) > 0)"
}

// page returns those that are listed.
func (l listing) page(newest bool) string {
	return direction(l.some()+" ORDER BY "+l.order+" LIMIT $3", newest)
}

// end returns the last one that is looked at, if there may be others behind it.
func (l listing) end(newest bool) string {
	from := strings.ReplaceAll(l.from, "$10", "$3")
	return direction("SELECT since, id FROM "+from+" ORDER BY "+l.order+" OFFSET $2 - 1 LIMIT 1", newest)
}

// membersEnd is the same of both tables: of what is looked at in one, only that counts which the other does not leave out.
func membersEnd(most string) string {
	last := func(l listing) string {
		return "(SELECT id FROM " + l.from + " ORDER BY " + l.order + " OFFSET " + most + " - 1 LIMIT 1)"
	}
	return "least(" + last(openMembersOf) + ", " + last(finalMembersOf) + ")"
}

func endOfMembers(newest bool) string {
	return direction(strings.ReplaceAll("SELECT {now}, id FROM (SELECT "+membersEnd("$2")+" AS id) e WHERE id IS NOT NULL", "$10", "$3"), newest)
}

func pageOfMembers(newest bool) string {
	return direction("SELECT * FROM (("+openMembersOf.some()+") UNION ALL ("+finalMembersOf.some()+
		")) m WHERE (id <= ("+membersEnd("$4")+")) IS NOT FALSE ORDER BY id LIMIT $3", newest)
}

// listPatience is for how long a list looks. It looks at few tasks at a time.
const listPatience = 5 * time.Millisecond

// List returns a page of the tasks in a state: see [omniq.TaskQueue].
func (b *Backend) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if err := engine.CheckList(&r); err != nil {
		return nil, "", err
	}
	after, err := placeOf(&r)
	if err != nil {
		return nil, "", err
	}
	if err := b.settled(ctx); err != nil {
		return nil, "", err
	}
	few := 500
	if r.Contains != "" { // which are read whole
		few = 200
	}
	var page []info
	for n, until := 0, time.Now().Add(listPatience); n < omniq.MaxListed; n += few {
		some, next, more, err := b.look(ctx, &r, after, r.Max-len(page), few)
		page, after = append(page, some...), next
		switch {
		case err != nil:
			return nil, "", err
		case next == listPlace{}:
			list, err := b.complete(ctx, page)
			return list, "", err
		}
		if more || len(page) == r.Max || time.Now().After(until) {
			break
		}
	}
	list, err := b.complete(ctx, page)
	return list, after.text(&r), err
}

// look returns at most some of those that are listed of a few tasks after one, and after which the others are: the zero place if there are none.
// More says that there may be more of the few.
func (b *Backend) look(ctx context.Context, r *omniq.ListRequest, after listPlace, most, few int) (page []info, next listPlace, more bool, err error) {
	l := listings[r.Status]
	find, end := l.page(r.Newest), l.end(r.Newest)
	args := []any{uuidOf(after.id), r.Queue, int64(most) + 1, few, r.Lane, r.Name, r.Worker, r.Contains, plainPart(r.Contains)}
	endArgs := []any{uuidOf(after.id), few}
	switch {
	case r.Flow != uuid.Nil:
		find, end = pageOfMembers(r.Newest), endOfMembers(r.Newest)
		args, endArgs = append(args, uuidOf(r.Flow), int16(r.Status)), append(endArgs, uuidOf(r.Flow))
	case l.order == byTime:
		args, endArgs = append(args, after.since), append(endArgs, after.since)
	}
	n := 0
	var last listPlace
	rows := func(row scanner) error {
		if n == most {
			more = true
			return nil
		}
		i, err := scanInfo(row)
		n, last = n+1, listPlace{i.since, i.ID}
		if i.has(r.Contains) {
			page = append(page, i)
		}
		return err
	}
	err = b.read(ctx, stmt{sql: b.sql.of(find), args: args, row: rows}, stmt{sql: b.sql.of(end), args: endArgs, row: func(row scanner) error {
		return row.Scan(&next.since, (*[16]byte)(&next.id))
	}})
	if more {
		next = last
	}
	return page, next, more, err
}

// listPlace is where a page ends.
type listPlace struct {
	since pgtype.Timestamptz
	id    uuid.UUID
}

// placeOf is after which place a page begins. Of lists by time alone the time is looked at.
func placeOf(r *omniq.ListRequest) (p listPlace, err error) {
	if r.After == "" {
		p.since = always // no task has this time, or this ID
		if r.Newest {
			p.since.InfinityModifier, p.id = pgtype.Infinity, uuid.Max
		}
		return p, nil
	}
	since, id, timed := strings.Cut(r.After, ".")
	if !timed {
		id, since = since, "0"
	}
	us, err := strconv.ParseInt(since, 10, 64)
	switch us {
	case math.MinInt64:
		p.since = always
	case math.MaxInt64:
		p.since = pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	default:
		p.since = timeOf(time.UnixMicro(us))
	}
	if err == nil {
		p.id, err = uuid.Parse(id)
	}
	if err != nil || timed != byTimeOf(r) {
		return p, invalid("%.60q is not where a page begins", r.After)
	}
	return p, nil
}

// text is the place as callers know it.
func (p listPlace) text(r *omniq.ListRequest) string {
	if !byTimeOf(r) {
		return p.id.String()
	}
	us := p.since.Time.UnixMicro()
	switch p.since.InfinityModifier { // SQL has written it
	case pgtype.NegativeInfinity:
		us = math.MinInt64
	case pgtype.Infinity:
		us = math.MaxInt64
	}
	return strconv.FormatInt(us, 10) + "." + p.id.String()
}

func byTimeOf(r *omniq.ListRequest) bool {
	return r.Flow == uuid.Nil && listings[r.Status].order == byTime
}

// has reports whether a text stands in the task or its error.
func (i *info) has(text string) bool {
	return strings.Contains(i.task, text) || i.Error != nil && (strings.Contains(i.Error.Message, text) || strings.Contains(i.Error.Type, text))
}

// plainPart is the longest part of a text that stands in JSON as it is, whoever writes that.
func plainPart(text string) (longest string) {
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\/<>&'`, r) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}
