package memory

import (
	"context"
	"sort"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// notes are what the handlers of a task have left.
type notes struct {
	progress omniq.Raw
	state    omniq.Raw
	streams  map[string][]item
	last     int64         // the number of the last item of all streams, in all lives
	more     chan struct{} // closed when there is another item, or the task is final; nil if nobody waits
}

// item is one of a stream. The numbers of all streams of a task ascend.
type item struct {
	number int64
	data   omniq.Raw
}

// note keeps what a handler has to say of its task.
func (e *entry) note(n *omniq.Notes) {
	if n.Empty() {
		return
	}
	if e.notes == nil {
		e.notes = new(notes)
	}
	if n.Progress != nil {
		e.notes.progress = n.Progress
	}
	if n.State != nil {
		e.notes.state = n.State
	}
	for _, i := range n.Stream {
		if e.notes.streams == nil {
			e.notes.streams = make(map[string][]item)
		}
		e.notes.last++
		e.notes.streams[i.Name] = append(e.notes.streams[i.Name], item{e.notes.last, i.Data})
	}
	if len(n.Stream) > 0 {
		e.notes.wake()
	}
}

func (n *notes) wake() {
	if n != nil && n.more != nil {
		close(n.more)
		n.more = nil
	}
}

// renew is for the next life of the task.
func (n *notes) renew() {
	if n != nil {
		n.progress, n.streams = nil, nil
	}
}

// clear is for another task in the place of this one. The numbers of items go on, for those who read.
func (n *notes) clear() {
	if n != nil {
		n.progress, n.state, n.streams = nil, nil, nil
	}
}

// Note keeps what handlers have to say of their tasks: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Note(ctx context.Context, list []omniq.LeaseNotes) ([]error, error) {
	refused := make([]error, len(list))
	for i := range list {
		refused[i] = list[i].Validate()
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i := range list {
		switch e := b.leased(list[i].LeaseID, now); {
		case e == nil:
			errs = engine.Report(errs, len(list), i, b.why(list[i].LeaseID))
		case refused[i] != nil:
			errs = engine.Report(errs, len(list), i, refused[i])
		default:
			e.note(&list[i].Notes)
		}
	}
	return errs, nil
}

// Stream returns items of a stream of a task, and waits for one if it is told to: see [omniq.ResultStore].
func (b *Backend) Stream(ctx context.Context, r omniq.StreamRequest) (omniq.StreamPage, error) {
	none := omniq.StreamPage{Next: r.After}
	if err := engine.CheckStream(&r); err != nil {
		return none, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return none, err
	}
	e := b.task(r.TaskID, now)
	if e == nil {
		b.end()
		return none, omniq.ErrNotFound
	}
	var timeout <-chan time.Time
	for {
		page := e.stream(&r)
		if len(page.Items) > 0 || page.Ended || r.Wait <= 0 {
			b.end()
			return page, nil
		}
		if e.notes == nil {
			e.notes = new(notes)
		}
		if e.notes.more == nil {
			e.notes.more = make(chan struct{})
		}
		more := e.notes.more
		b.end()
		if timeout == nil {
			timer := time.NewTimer(r.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-more:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			return none, contextError(ctx)
		case <-b.closed:
			return none, omniq.ErrClosed
		}
		if _, err = b.begin(context.WithoutCancel(ctx)); err != nil { // closed: nothing is locked
			return none, err
		}
	}
}

// stream returns the next items of a stream.
func (e *entry) stream(r *omniq.StreamRequest) omniq.StreamPage {
	page := omniq.StreamPage{Next: r.After}
	if e.notes != nil {
		items := e.notes.streams[r.Name]
		first := sort.Search(len(items), func(i int) bool { return items[i].number > r.After })
		for _, item := range items[first:] {
			if len(page.Items) == r.Max {
				return page
			}
			page.Items, page.Next = append(page.Items, item.data), item.number
		}
	}
	page.Ended = e.result != nil
	return page
}
