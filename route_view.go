package omniq

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Stats adds up what is told of a queue that is in several places.
func (r *route) Stats(ctx context.Context) ([]QueueStats, error) {
	lists, err := all(ctx, r.places, func(ctx context.Context, p *place) ([]QueueStats, error) { return p.Backend.Stats(ctx) })
	if err != nil || len(lists) == 1 {
		return first(lists), err
	}
	sums := make(map[string]QueueStats)
	for _, list := range lists {
		for _, s := range list {
			sum := sums[s.Queue]
			if sum.Limit == (Limit{}) {
				sum.Limit = s.Limit
			}
			sums[s.Queue] = QueueStats{
				Queue: s.Queue, Paused: sum.Paused || s.Paused, Waiting: sum.Waiting + s.Waiting, Ready: sum.Ready + s.Ready,
				Scheduled: sum.Scheduled + s.Scheduled, Running: sum.Running + s.Running, Succeeded: sum.Succeeded + s.Succeeded,
				Failed: sum.Failed + s.Failed, Cancelled: sum.Cancelled + s.Cancelled, Expired: sum.Expired + s.Expired,
				Latency: max(sum.Latency, s.Latency), Lanes: max(sum.Lanes, s.Lanes), Limit: sum.Limit,
			}
		}
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b QueueStats) int { return strings.Compare(a.Queue, b.Queue) }), nil
}

// first is what the only place has answered, or nothing with an error.
func first[T any](lists [][]T) []T {
	if len(lists) == 0 {
		return nil
	}
	return lists[0]
}

func (r *route) Pause(ctx context.Context, queue string) error {
	return r.inQueue(ctx, queue, func(ctx context.Context, p *place) error { return p.Backend.Pause(ctx, queue) })
}

func (r *route) Resume(ctx context.Context, queue string) error {
	return r.inQueue(ctx, queue, func(ctx context.Context, p *place) error { return p.Backend.Resume(ctx, queue) })
}

func (r *route) SetLimit(ctx context.Context, queue string, limit Limit) error {
	return r.inQueue(ctx, queue, func(ctx context.Context, p *place) error { return p.Backend.SetLimit(ctx, queue, limit) })
}

func (r *route) inQueue(ctx context.Context, queue string, do func(context.Context, *place) error) error {
	places, err := r.placesOf(queue)
	if err != nil {
		return err
	}
	return everywhere(ctx, places, do)
}

// Beat tells the places where the worker takes tasks that it is there.
func (r *route) Beat(ctx context.Context, worker WorkerInfo) error {
	var places []*place
	for _, queue := range worker.Queues {
		of, err := r.placesOf(queue)
		if err != nil {
			return err
		}
		for _, p := range of {
			if !slices.Contains(places, p) {
				places = append(places, p)
			}
		}
	}
	if len(places) == 0 {
		places = r.places
	}
	return everywhere(ctx, places, func(ctx context.Context, p *place) error { return p.Backend.Beat(ctx, worker) })
}

// Workers takes what was said last of a worker that several places know.
func (r *route) Workers(ctx context.Context) ([]WorkerInfo, error) {
	lists, err := all(ctx, r.places, func(ctx context.Context, p *place) ([]WorkerInfo, error) { return p.Backend.Workers(ctx) })
	if err != nil || len(lists) == 1 {
		return first(lists), err
	}
	workers := make(map[string]WorkerInfo)
	for _, list := range lists {
		for _, w := range list {
			if known, ok := workers[w.ID]; !ok || w.Seen.After(known.Seen) {
				workers[w.ID] = w
			}
		}
	}
	return slices.SortedFunc(maps.Values(workers), func(a, b WorkerInfo) int { return strings.Compare(a.ID, b.ID) }), nil
}

// History adds up what was done with the tasks of a queue in several places.
func (r *route) History(ctx context.Context, last time.Duration) ([]Minute, error) {
	lists, err := all(ctx, r.places, func(ctx context.Context, p *place) ([]Minute, error) { return p.Backend.History(ctx, last) })
	if err != nil || len(lists) == 1 {
		return first(lists), err
	}
	minutes := slices.Concat(lists...)
	slices.SortStableFunc(minutes, func(a, b Minute) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.Queue, b.Queue), strings.Compare(a.FuncName, b.FuncName))
	})
	sums := minutes[:0]
	for _, m := range minutes {
		if n := len(sums); n > 0 && sums[n-1].Start.Equal(m.Start) && sums[n-1].Queue == m.Queue && sums[n-1].FuncName == m.FuncName {
			sums[n-1].add(&m)
			continue
		}
		sums = append(sums, m)
	}
	return sums, nil
}

func (m *Minute) add(other *Minute) {
	m.Enqueued += other.Enqueued
	m.Started += other.Started
	m.Succeeded += other.Succeeded
	m.Failed += other.Failed
	m.Retried += other.Retried
	m.Cancelled += other.Cancelled
	m.Expired += other.Expired
	m.Wait += other.Wait
	m.Run += other.Run
}

// spots are where each place is to go on, by the places' names. As text they are a cursor.
type spots map[string]string

func (s spots) String() string {
	values := make(url.Values, len(s))
	for name, spot := range s {
		values.Set(name, spot)
	}
	return values.Encode()
}

// readSpots reads what String has made. It does not look at the names.
func readSpots(text string) (spots, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalid("%.60q is no place of a route", text)
	}
	s := make(spots, len(values))
	for name, of := range values {
		if !isPlaceName(name) || len(of) != 1 {
			return nil, invalid("%.60q is no place of a route", text)
		}
		s[name] = of[0]
	}
	return s, nil
}

// List merges the lists of the places. After has a spot for each that is not at its end.
func (r *route) List(ctx context.Context, request ListRequest) ([]*TaskInfo, string, error) {
	places := r.places
	if request.Queue != "" {
		var err error
		if places, err = r.placesOf(request.Queue); err != nil {
			return nil, "", err
		}
	}
	if len(places) == 1 {
		page, next, err := places[0].Backend.List(ctx, request)
		return page, next, places[0].fault(err)
	}
	spots := make(spots, len(places))
	for _, p := range places {
		spots[p.name] = ""
	}
	if request.After != "" {
		after, err := readSpots(request.After)
		if err != nil {
			return nil, "", err
		}
		for name := range after {
			if _, ok := spots[name]; !ok {
				return nil, "", invalid("%.60q is no place of a list of the route", request.After)
			}
		}
		spots = after
		places = slices.DeleteFunc(slices.Clone(places), func(p *place) bool { _, ok := after[p.name]; return !ok })
	}
	most := make(map[*place]int, len(places))
	for _, p := range places {
		most[p] = request.Max
	}
	heads, err := listAll(ctx, places, request, spots, most)
	if err != nil {
		return nil, "", err
	}
	order := mergeList(heads, &request)
	for i, p := range places {
		taken := 0
		for _, at := range order {
			if at == i {
				taken++
			}
		}
		if taken == len(heads[i].page) {
			taken = request.Max // it need not be asked again
		}
		most[p] = taken
	}
	// A spot is at the end of a page alone. So those of whose pages a part was taken are asked for this part.
	partly := slices.DeleteFunc(slices.Clone(places), func(p *place) bool { return most[p] == 0 || most[p] == request.Max })
	if len(partly) > 0 {
		again, err := listAll(ctx, partly, request, spots, most)
		if err != nil {
			return nil, "", err
		}
		for i, p := range partly {
			heads[slices.Index(places, p)] = again[i]
		}
	}
	var page []*TaskInfo
	for _, at := range order {
		if list := &heads[at]; list.taken < len(list.page) {
			page = append(page, list.page[list.taken])
			list.taken++
		}
	}
	for i, p := range places {
		switch {
		case most[p] == 0:
		case heads[i].next == "":
			delete(spots, p.name)
		default:
			spots[p.name] = heads[i].next
		}
	}
	return page, spots.String(), nil
}

// listed is a page of one place.
type listed struct {
	page  []*TaskInfo
	next  string
	taken int
}

func listAll(ctx context.Context, places []*place, request ListRequest, spots spots, most map[*place]int) ([]listed, error) {
	return all(ctx, places, func(ctx context.Context, p *place) (l listed, err error) {
		request := request
		request.After, request.Max = spots[p.name], most[p]
		l.page, l.next, err = p.Backend.List(ctx, request)
		return l, err
	})
}

// mergeList returns from which list each task of a page comes. It ends where one is at an end that is not its last.
func mergeList(lists []listed, request *ListRequest) (order []int) {
	taken := make([]int, len(lists))
	for len(order) < request.Max {
		best := -1
		for i := range lists {
			if taken[i] == len(lists[i].page) {
				if lists[i].next != "" {
					return order
				}
				continue
			}
			if best < 0 || precedes(lists[i].page[taken[i]], lists[best].page[taken[best]], request.Newest) {
				best = i
			}
		}
		if best < 0 {
			return order
		}
		order = append(order, best)
		taken[best]++
	}
	return order
}

// precedes reports whether task a, of a later place, comes before task b in a list.
func precedes(a, b *TaskInfo, newest bool) bool {
	order := listTime(a).Compare(listTime(b))
	if order == 0 {
		order = bytes.Compare(a.ID[:], b.ID[:])
	}
	return newest && order > 0 || !newest && order < 0
}

// listTime is the time by which lists go.
func listTime(info *TaskInfo) time.Time {
	if info.Status.Final() || info.Task == nil {
		return info.Since
	}
	return info.Task.CreatedAt
}

// Events merges the events of the places by their timestamps. The cursor has one of each place.
func (r *route) Events(ctx context.Context, request EventsRequest) ([]StoredEvent, Cursor, error) {
	spots, err := r.spotsOf(request.After)
	if err != nil {
		return nil, request.After, err
	}
	end := time.Now().Add(request.Wait)
	for {
		now := request
		now.Wait = 0
		read, err := all(ctx, r.places, readEvents(spots, now))
		if err != nil {
			return nil, request.After, err
		}
		for i, p := range r.places {
			if len(read[i].events) == 0 && read[i].next != "" { // it has been read up to there
				spots[p.name] = string(read[i].next)
			}
		}
		if events := mergeEvents(r.places, read, spots, request.Max); len(events) > 0 {
			return events, events[len(events)-1].Cursor, nil
		}
		wait := time.Until(end)
		if wait <= 0 {
			return nil, Cursor(spots.String()), nil
		}
		if err := r.awaitEvent(ctx, spots, request, wait); err != nil {
			return nil, request.After, err
		}
	}
}

// spotsOf are those of a cursor. Of a place that the route had no more nothing is left to be read.
func (r *route) spotsOf(after Cursor) (spots, error) {
	all := make(spots, len(r.places))
	if after == CursorLatest {
		for _, p := range r.places {
			all[p.name] = string(CursorLatest)
		}
		return all, nil
	}
	read, err := readSpots(string(after))
	if err != nil {
		return nil, err
	}
	for name, spot := range read {
		if spot == "" || spot == string(CursorLatest) {
			return nil, invalid("%.60q is no cursor of a route", after)
		}
		if r.byName[name] != nil {
			all[name] = spot
		}
	}
	return all, nil
}

// eventsRead are events of one place.
type eventsRead struct {
	events []StoredEvent
	next   Cursor
}

func readEvents(spots spots, request EventsRequest) func(context.Context, *place) (eventsRead, error) {
	after := maps.Clone(spots)
	return func(ctx context.Context, p *place) (e eventsRead, err error) {
		request := request
		request.After = Cursor(after[p.name])
		e.events, e.next, err = p.Backend.Events(ctx, request)
		return e, err
	}
}

// mergeEvents takes events of all places, the earliest first, and gives each the cursor behind it.
func mergeEvents(places []*place, read []eventsRead, spots spots, most int) (events []StoredEvent) {
	for len(events) < most {
		best := -1
		for i := range read {
			if len(read[i].events) > 0 && (best < 0 || read[i].events[0].Timestamp.Before(read[best].events[0].Timestamp)) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		e := read[best].events[0]
		read[best].events = read[best].events[1:]
		spots[places[best].name] = string(e.Cursor)
		events = append(events, StoredEvent{Cursor(spots.String()), e.TaskEvent})
	}
	return events
}

// awaitEvent waits until there is an event in some place. It is read after that, with those of the others.
func (r *route) awaitEvent(ctx context.Context, spots spots, request EventsRequest, wait time.Duration) error {
	request.Max, request.Wait = 1, wait
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := ask(ctx, r.places, readEvents(spots, request))
	for range r.places {
		if reply := <-replies; reply.err != nil || len(reply.value.events) > 0 {
			return reply.err
		}
	}
	return nil
}
