package backendtest

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenNotes do something wrong with notes and streams.
var brokenNotes = []breakage{
	{"keeps no progress", noting(func(n *omniq.Notes) { n.Progress = nil }), []string{
		"what a handler says of its progress is shown, the last one",
		"progress is kept with the result, state unless the task has succeeded",
		others,
	}},
	{"forgets what is not said again", noting(func(n *omniq.Notes) {
		if n.Progress == nil && n.State == nil && n.Stream == nil {
			n.Progress = omniq.Raw(`{"nothing":true}`)
		}
	}), []string{"what a handler says of its progress is shown, the last one"}},
	{"keeps no state", noting(func(n *omniq.Notes) { n.State = nil }), []string{
		"the next attempt of a task has the state that the last one has left, however that ended", others,
	}},
	{"hands out no state", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].State = nil
		}
		return l
	}), []string{"the next attempt of a task has the state that the last one has left, however that ended", others}},
	{"keeps what is large in part", noting(func(n *omniq.Notes) {
		if len(n.State) > omniq.MaxNotes/2 && len(n.State) <= omniq.MaxNotes {
			n.State = omniq.Raw("{}")
		}
	}), []string{"notes that are just allowed are kept as they were"}},
	{"notes for whoever comes", func(b *broken) {
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			errs, err := b.m.Note(ctx, notes)
			return slices.Repeat([]error{nil}, len(errs)), err
		}
	}, []string{
		"with a lease that is lost nothing is noted, and nothing begins to exist",
		"notes that nobody could read are refused, and the others of their call are kept",
		others,
	}},
	{"fails for all because of one note", func(b *broken) {
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			for i := range notes {
				if err := notes[i].Validate(); err != nil {
					return nil, err
				}
			}
			return b.m.Note(ctx, notes)
		}
	}, []string{"notes that nobody could read are refused, and the others of their call are kept"}},
	{"extends what is noted", func(b *broken) {
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			for _, n := range notes {
				_, _ = b.m.Extend(ctx, []omniq.LeaseID{n.LeaseID}, long)
			}
			return b.m.Note(ctx, notes)
		}
	}, []string{"to note is not to extend, to start or to change what is leased", others}},
	{"starts what is noted", func(b *broken) {
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			for _, n := range notes {
				_, _ = b.m.Start(ctx, []omniq.LeaseID{n.LeaseID})
			}
			return b.m.Note(ctx, notes)
		}
	}, []string{"to note is not to extend, to start or to change what is leased"}},
	{"shows the state of what has succeeded", func(b *broken) {
		states := make(map[uuid.UUID]omniq.Raw)
		next := b.notes
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			for _, n := range notes {
				states[n.TaskID] = n.State
			}
			return next(ctx, notes)
		}
		infos(func(i *omniq.TaskInfo) {
			if i.Status == omniq.StatusSuccess {
				i.State = states[i.ID]
			}
		})(b)
	}, []string{"progress is kept with the result, state unless the task has succeeded", others}},
	{"puts streams together", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			if err == nil && len(page.Items) < r.Max && r.Name == "rows" {
				r.Name = "others"
				more, err := b.m.Stream(ctx, r)
				page.Items = append(page.Items, more.Items...)
				return page, err
			}
			return page, err
		}
	}, []string{"a stream has what was put in, in its order, for who comes late and for who goes on", others}},
	{"reads streams backwards", streamed(func(p *omniq.StreamPage) { slices.Reverse(p.Items) }), []string{
		"a stream has what was put in, in its order, for who comes late and for who goes on",
		"readers of a stream that is written meanwhile miss nothing",
		others,
	}},
	{"reads streams from now on", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			if r.After == 0 && r.Max > 0 {
				all := r
				all.Max, all.Wait = 1000, 0
				page, err := b.m.Stream(ctx, all)
				if err != nil || page.Ended {
					return omniq.StreamPage{Ended: true}, err
				}
				r.After = page.Next
			}
			return b.m.Stream(ctx, r)
		}
	}, []string{"a stream has what was put in, in its order, for who comes late and for who goes on", others}},
	{"says too early that a stream ends", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			if result, failed := b.m.Result(ctx, r.TaskID); err == nil && failed == nil {
				page.Ended = result.Status.Final()
			}
			return page, err
		}
	}, []string{
		"a stream has what was put in, in its order, for who comes late and for who goes on",
		"the last item of a stream may come with the end of the task",
		others,
	}},
	{"never says that a stream ends", streamed(func(p *omniq.StreamPage) { p.Ended = false }), []string{
		"a stream ends for its readers when the task is final, after the last item", others,
	}},
	{"does not wait for items", askings(func(r *omniq.StreamRequest) { r.Wait = 0 }), []string{
		"who reads a stream waits for the next item, and gets each at once",
		"Stream returns nothing and no error when Wait is over, and at once without it",
		others,
	}},
	{"always waits for items", askings(func(r *omniq.StreamRequest) { r.Wait = max(r.Wait, 2*worst) }), []string{
		"Stream returns nothing and no error when Wait is over, and at once without it", others,
	}},
	{"says that Wait for items is over", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			if err == nil && r.Wait > 0 && len(page.Items) == 0 && !page.Ended {
				err = context.DeadlineExceeded
			}
			return page, err
		}
	}, []string{"Stream returns nothing and no error when Wait is over, and at once without it"}},
	{"gets items late", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			if err == nil && r.Wait == long && len(page.Items) > 0 {
				timer := time.NewTimer(2 * worst)
				defer timer.Stop()
				select {
				case <-ctx.Done():
				case <-timer.C:
				}
			}
			return page, err
		}
	}, []string{"who reads a stream waits for the next item, and gets each at once", others}},
	{"has a stream of each task", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			return page, unless(omniq.ErrNotFound, err)
		}
	}, []string{"a stream is that of a task which is known", others}},
	{"keeps the items of an earlier life", func(b *broken) {
		kept := make(map[uuid.UUID][]omniq.Raw)
		next := b.requeue
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			for _, id := range ids {
				page, _ := b.m.Stream(ctx, omniq.StreamRequest{TaskID: id, Name: "s", Max: 10})
				kept[id] = page.Items
			}
			return next(ctx, ids, follow)
		}
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			if err == nil && r.After == 0 && r.Wait == 0 {
				page.Items = append(slices.Clone(kept[r.TaskID]), page.Items...)
			}
			return page, err
		}
	}, []string{"the items of a task outlive its attempts, and are gone when it is requeued, after which it goes on"}},
	{"makes something of requests for streams that cannot be", askings(func(r *omniq.StreamRequest) {
		r.Max, r.After = max(r.Max, 1), max(r.After, 0)
	}), []string{"a request for a stream that cannot be is refused"}},
	{"reads streams whatever becomes of the caller", func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			return b.m.Stream(context.WithoutCancel(ctx), r)
		}
	}, []string{"a Stream that waits ends with its context, and with the backend"}},
}

// noting changes notes that come by themselves.
func noting(change func(*omniq.Notes)) func(*broken) {
	return func(b *broken) {
		b.notes = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			notes = slices.Clone(notes)
			for i := range notes {
				change(&notes[i].Notes)
			}
			return b.m.Note(ctx, notes)
		}
	}
}

// streamed changes pages of streams.
func streamed(change func(*omniq.StreamPage)) func(*broken) {
	return func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			page, err := b.m.Stream(ctx, r)
			change(&page)
			return page, err
		}
	}
}

// askings changes requests for pages of streams.
func askings(change func(*omniq.StreamRequest)) func(*broken) {
	return func(b *broken) {
		b.stream = func(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
			change(&r)
			return b.m.Stream(ctx, r)
		}
	}
}
