package backendtest

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// limitsSet changes each limit before it is set.
func limitsSet(change func(*omniq.Limit)) func(*broken) {
	return func(b *broken) {
		next := b.setLimit
		b.setLimit = func(ctx context.Context, queue string, limit omniq.Limit) error {
			if limit.Validate() == nil {
				change(&limit)
			}
			return next(ctx, queue, limit)
		}
	}
}

// queueStats changes what is told of each queue.
func queueStats(change func(*omniq.QueueStats)) func(*broken) {
	return func(b *broken) {
		next := b.stats
		b.stats = func(ctx context.Context) ([]omniq.QueueStats, error) {
			stats, err := next(ctx)
			for i := range stats {
				change(&stats[i])
			}
			return stats, err
		}
	}
}

// brokenBounds do something wrong with the limits and lanes of queues.
var brokenBounds = []breakage{
	{"bounds nothing", limitsSet(func(l *omniq.Limit) { *l = omniq.Limit{} }), []string{
		"no more tasks of a queue run than its limit permits",
		"the place of a task is free when its lease has ended, in whatever way",
		"the place of a task is free when its lease runs out, and not before",
		"a limit holds from when it is set until it is taken away",
		"a limit is kept whether its queue has tasks or not, and is told by Stats",
		"an invalid limit is refused, and the last one stays",
		"a task over a limit stays ready, and nothing is told or counted of it",
		"a task that waits for a limit expires when its TTL is over",
		"nothing is handed out ahead of a queue whose limit bounds how many run",
		"a rate permits its burst at once, and then one task after the other",
		"a rate of each lane is its own",
		"what a rate was charged stays charged when the lane or the queue is empty meanwhile",
		"a limit, a pause, priorities and times hold together",
		"a limit of each lane bounds each by itself, and nothing is lent",
		"the limits of the queue and of its lanes hold together",
		"a task of a lane that waits for others, and hands over to others, is in its lane",
		"workers at once hand out no more than limits permit, and all in the end",
		others,
	}},
	{"permits one more", limitsSet(func(l *omniq.Limit) {
		if l.Running > 0 {
			l.Running++
		}
	}), []string{"no more tasks of a queue run than its limit permits", others}},
	{"does not take a limit away", func(b *broken) {
		b.setLimit = func(ctx context.Context, queue string, limit omniq.Limit) error {
			if limit == (omniq.Limit{}) {
				return nil
			}
			return b.m.SetLimit(ctx, queue, limit)
		}
	}, []string{"a limit holds from when it is set until it is taken away", others}},
	{"takes an invalid limit for none", func(b *broken) {
		b.setLimit = func(ctx context.Context, queue string, limit omniq.Limit) error {
			if limit.Validate() != nil {
				limit = omniq.Limit{}
			}
			return b.m.SetLimit(ctx, queue, limit)
		}
	}, []string{"an invalid limit is refused, and the last one stays"}},
	{"hands out ahead what is bounded", requests(func(r *omniq.LeaseRequest) { r.Ahead = 0 }), []string{
		"nothing is handed out ahead of a queue whose limit bounds how many run",
		"a place of a bounded queue goes to who can take it, whoever takes tasks ahead waits beside",
	}},
	{"charges no rate", limitsSet(func(l *omniq.Limit) { l.Rate, l.EachLane.Rate = omniq.Rate{}, omniq.Rate{} }), []string{
		"a rate permits its burst at once, and then one task after the other",
		"a rate of each lane is its own",
		"what a rate was charged stays charged when the lane or the queue is empty meanwhile",
		others,
	}},
	{"has one rate for all lanes", limitsSet(func(l *omniq.Limit) { l.Rate = l.EachLane.Rate }), []string{
		"a rate of each lane is its own", others,
	}},
	{"bounds no lane", limitsSet(func(l *omniq.Limit) { l.EachLane = omniq.LaneLimit{} }), []string{
		"a limit of each lane bounds each by itself, and nothing is lent",
		"the limits of the queue and of its lanes hold together",
		"a task of a lane comes back to it, in whatever way",
		"a task of a lane that waits for others, and hands over to others, is in its lane",
		"whatever becomes of the tasks of lanes, limits hold, places come back, and lanes take turns",
		others,
	}},
	{"knows no lanes", tasks(func(t *omniq.RawTask) { t.Lane = "" }), []string{
		"the lanes of a queue take turns, and the tasks without one are one more",
		"a lane with many tasks delays another one by one task",
		"a lane that has had nothing to do comes after those that wait",
		"a lane whose last task runs keeps its turn",
		"a hold keeps a lane back for its time, and no other one",
		"lanes are told by Inspect, List and Stats, and nothing is left of one that is empty",
		others,
	}},
	{"has no order in a lane", tasks(func(t *omniq.RawTask) {
		if t.Lane != "" {
			t.Priority = 0
		}
	}), []string{"within a lane the order is that of the queue"}},
	{"gives each priority a lane", tasks(func(t *omniq.RawTask) {
		if t.Priority > 0 {
			t.Lane += "+"
		}
	}), []string{"within a lane the order is that of the queue", others}},
	{"holds nothing back", settlements(func(s *omniq.Settlement) { s.Hold = min(s.Hold, 0) }), []string{
		"a hold keeps a lane back for its time, and no other one",
		"a hold is part of a settlement that takes effect, and a shorter one changes nothing",
	}},
	{"holds the task back instead of its lane", settlements(func(s *omniq.Settlement) {
		if s.Hold > 0 && s.Action != omniq.ActionFinish {
			s.Delay, s.Hold = s.Hold, 0
		}
	}), []string{"a hold keeps a lane back for its time, and no other one", others}},
	{"tells of no lanes", infos(func(i *omniq.TaskInfo) { i.Lane = "" }), []string{
		"lanes are told by Inspect, List and Stats, and nothing is left of one that is empty",
	}},
	{"counts lanes that have gone", func(b *broken) {
		most := 0
		queueStats(func(s *omniq.QueueStats) {
			most = max(most, s.Lanes)
			s.Lanes = most
		})(b)
	}, []string{"lanes are told by Inspect, List and Stats, and nothing is left of one that is empty", others}},
	{"lists the tasks of all lanes", func(b *broken) {
		next := b.list
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			if r.Queue != "" {
				r.Lane = ""
			}
			return next(ctx, r)
		}
	}, []string{"lanes are told by Inspect, List and Stats, and nothing is left of one that is empty"}},
	{"has no names in lanes", requests(func(r *omniq.LeaseRequest) { r.Names = nil }), []string{
		"where a name is asked for, a lane with a task of it is not kept back by one without",
	}},
	{"loses what comes back to a lane", func(b *broken) {
		b.runNow = func(_ context.Context, ids []uuid.UUID) ([]error, error) { return make([]error, len(ids)), nil }
	}, []string{
		"a task of a lane comes back to it, in whatever way",
		"whatever becomes of the tasks of lanes, limits hold, places come back, and lanes take turns",
		others,
	}},
	{"settles the leases of lanes late", func(b *broken) {
		var late []omniq.Settlement
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			if late != nil {
				if errs, err := b.m.Settle(ctx, late); err != nil {
					return errs, err
				}
			}
			late = slices.Clone(settlements)
			return nil, nil
		}
	}, []string{"the place of a task is free when its lease has ended, in whatever way", others}},
	{"holds nothing back because of a task that ends", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionFinish {
			s.Hold = 0
		}
	}), []string{"a hold is part of a settlement that takes effect, and a shorter one changes nothing"}},
}
