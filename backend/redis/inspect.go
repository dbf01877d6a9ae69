package redis

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Inspect tells what is known of a task: see [omniq.TaskQueue].
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	answer, err := b.run(ctx, "inspect", fields{"id": key(id)})
	if err != nil {
		return nil, err
	}
	if answer.IsNil() {
		return nil, omniq.ErrNotFound
	}
	return decodeInfo(answer)
}

// List returns a page of the tasks in a state: see [omniq.TaskQueue]. It asks the server for a part at a time.
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
	args := fields{"first": true, "newest": r.Newest}
	if r.Flow != uuid.Nil {
		args["flow"] = key(r.Flow)
	}
	if r.Status != 0 {
		args["status"] = int(r.Status)
	}
	for name, text := range map[string]string{
		"queue": r.Queue, "lane": r.Lane, "name": r.Name, "worker": r.Worker, "contains": r.Contains,
	} {
		if text != "" {
			args[name] = text
		}
	}
	page, began := []*omniq.TaskInfo{}, time.Now()
	for looks := 0; ; looks += listLooks {
		args["after"], args["max"] = after, r.Max-len(page)
		answer, err := b.run(ctx, "list", args)
		if err != nil {
			return nil, "", err
		}
		parts, err := answer.ToArray()
		if err != nil || len(parts) == 0 {
			return nil, "", errPacked
		}
		if what, _ := parts[0].ToString(); what != "done" {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
		ended, _ := parts[1].AsInt64()
		last, _ := parts[2].AsInt64()
		views, err := parts[3].ToArray()
		if err != nil {
			return nil, "", errPacked
		}
		for i := range views {
			info, err := decodeInfo(views[i])
			if err != nil {
				return nil, "", err
			}
			if r.Contains == "" || contains(info, r.Contains) {
				page = append(page, info)
			}
		}
		if ended == 1 {
			return page, "", nil
		}
		after = last
		if len(page) >= r.Max || looks+2*listLooks > omniq.MaxListed || time.Since(began) > listPatience {
			return page, strconv.FormatInt(after, 10), nil
		}
		args["first"] = false
	}
}

// listLooks is how many tasks a script for a list looks at, and listPatience for how long a list goes on with the next ones.
const (
	listLooks    = 500
	listPatience = 10 * time.Millisecond
)

// contains looks also at the errors that are made when they are read.
func contains(info *omniq.TaskInfo, text string) bool {
	if e := info.Error; e != nil && (strings.Contains(e.Type, text) || strings.Contains(e.Message, text)) {
		return true
	}
	if info.Task == nil {
		return false
	}
	envelope, err := info.Task.AppendJSON(nil)
	return err == nil && strings.Contains(string(envelope), text)
}

// Stats returns figures of each queue: see [omniq.TaskQueue]. It asks the server for some queues at a time. Of a queue with more than some
// hundred lanes Latency is that of those which have waited longest for their turn.
func (b *Backend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	all := make(map[string]omniq.QueueStats)
	for cursor := "0"; ; {
		answer, err := b.run(ctx, "stats", fields{"cursor": cursor})
		if err != nil {
			return nil, err
		}
		parts, err := answer.ToArray()
		if err != nil || len(parts) != 2 {
			return nil, errPacked
		}
		list, err := parts[1].ToArray()
		if err != nil {
			return nil, errPacked
		}
		for i := range list {
			s, err := decodeStats(list[i])
			if err != nil {
				return nil, err
			}
			all[s.Queue] = s
		}
		if cursor, err = parts[0].ToString(); err != nil {
			return nil, errPacked
		}
		if cursor == "0" {
			break
		}
	}
	var stats []omniq.QueueStats
	for _, name := range slices.Sorted(maps.Keys(all)) {
		stats = append(stats, all[name])
	}
	return stats, nil
}

func decodeStats(m rueidis.RedisMessage) (s omniq.QueueStats, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 7 {
		return s, errPacked
	}
	number := func(i int) int {
		n, _ := parts[i].AsInt64()
		return int(n)
	}
	s.Queue, _ = parts[0].ToString()
	s.Paused = number(1) == 1
	counts, err := parts[3].AsIntSlice()
	if err != nil || len(counts) != int(omniq.StatusWaiting) {
		return s, errPacked
	}
	for i, n := range counts {
		engine.Count(&s, omniq.Status(i+1), int(n))
	}
	s.Scheduled, s.Ready = s.Ready-number(2), number(2)
	s.Latency, s.Lanes = time.Duration(number(4))*time.Microsecond, number(5)
	if text, err := parts[6].ToString(); err == nil && text != "" {
		f, err := decodeFields(text)
		if err != nil {
			return s, err
		}
		s.Limit = omniq.Limit{
			Running: int(f.int("running")), Rate: rateOf(f.sub("rate")),
			EachLane: omniq.LaneLimit{Running: int(f.int("lane_running")), Rate: rateOf(f.sub("lane_rate"))},
		}
	}
	return s, nil
}

func rateOf(f fields) omniq.Rate {
	return omniq.Rate{Tasks: int(f.int("tasks")), Per: time.Duration(f.int("per")), Burst: int(f.int("burst"))}
}
