package backendtest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// streamRules say how the streams of tasks are read.
var streamRules = []rule{
	{name: "a stream has what was put in, in its order, for who comes late and for who goes on", needs: notes, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		var want []string
		for i := range 10 {
			c.put(l, "rows", fmt.Sprint(2*i), fmt.Sprint(2*i+1))
			c.put(l, "others", `"x"`)
			want = append(want, fmt.Sprint(2*i), fmt.Sprint(2*i+1))
		}
		c.streams(l.TaskID, "rows", want...)
		c.streams(l.TaskID, "none")
		require.NoError(c, c.settle(success(l, "1", long)))
		for _, size := range []int{1, 3, 20, 1000} {
			var got []string
			r := omniq.StreamRequest{TaskID: l.TaskID, Name: "rows", Max: size}
			for ended := false; !ended; {
				page := c.stream(r)
				require.LessOrEqual(c, len(page.Items), size)
				if len(page.Items) > 0 {
					require.Greater(c, page.Next, r.After, "numbers ascend")
				}
				got = append(got, texts(page.Items)...)
				r.After, ended = page.Next, page.Ended
				require.LessOrEqual(c, len(got), len(want))
			}
			assert.Equal(c, want, got, "pages of %d", size)
		}
	}},
	{name: "who reads a stream waits for the next item, and gets each at once", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		r := omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 10, Wait: long}
		w := c.reader(r)
		c.blocks(w.done, "Stream of a task that has not started")
		l := c.leaseOf(t)
		c.put(l, "others", "0")
		c.blocks(w.done, "Stream of another one")
		for i := range 3 {
			c.put(l, "s", fmt.Sprint(i))
			require.NoError(c, c.ended(w.done, "Stream"))
			assert.Equal(c, []string{fmt.Sprint(i)}, texts(w.page.Items))
			assert.False(c, w.page.Ended)
			r.After = w.page.Next
			w = c.reader(r)
			c.blocks(w.done, "Stream")
		}
	}},
	{name: "a stream ends for its readers when the task is final, after the last item", needs: notes, check: func(c *checker) {
		for _, s := range []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure, omniq.StatusCancelled} {
			t := task(queue("q"))
			c.enqueue(t)
			l := c.leaseOf(t)
			c.put(l, "s", "1")
			page := c.stream(omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 5})
			w := c.reader(omniq.StreamRequest{TaskID: t.ID, Name: "s", After: page.Next, Max: 5, Wait: long})
			none := c.reader(omniq.StreamRequest{TaskID: t.ID, Name: "none", Max: 5, Wait: long})
			c.blocks(w.done, "Stream")
			switch s {
			case omniq.StatusCancelled:
				require.NoError(c, c.cancel(t.ID))
			case omniq.StatusFailure:
				require.NoError(c, c.settle(failure(l, long)))
			default:
				require.NoError(c, c.settle(success(l, "1", long)))
			}
			for _, w := range []*reader{w, none} {
				require.NoError(c, c.ended(w.done, "Stream"))
				assert.Empty(c, w.page.Items)
				assert.True(c, w.page.Ended, s)
			}
			page = c.stream(omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 5, Wait: long})
			assert.Equal(c, []string{"1"}, texts(page.Items))
			assert.True(c, page.Ended)
		}
	}},
	{name: "the last item of a stream may come with the end of the task", needs: func(c omniq.Capabilities) bool {
		return c.Notes && c.Flows
	}, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t)
		w := c.reader(omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 5, Wait: long})
		c.blocks(w.done, "Stream")
		s := success(l, "1", long)
		s.Effects = &omniq.Effects{Notes: omniq.Notes{Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}, {Name: "s", Data: omniq.Raw("2")}}}}
		require.NoError(c, c.settle(s))
		require.NoError(c, c.ended(w.done, "Stream"))
		assert.Equal(c, []string{"1", "2"}, texts(w.page.Items))
		assert.True(c, w.page.Ended)
		page := c.stream(omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 1})
		assert.Equal(c, []string{"1"}, texts(page.Items))
		assert.False(c, page.Ended, "there is one more")
	}},
	{name: "Stream returns nothing and no error when Wait is over, and at once without it", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		for _, wait := range []time.Duration{0, short} {
			began := time.Now()
			page := c.stream(omniq.StreamRequest{TaskID: t.ID, Name: "s", After: 7, Max: 5, Wait: wait})
			assert.Empty(c, page.Items)
			assert.Equal(c, int64(7), page.Next)
			assert.False(c, page.Ended)
			assert.GreaterOrEqual(c, time.Since(began), wait)
		}
	}},
	{name: "a stream is that of a task which is known", needs: notes, check: func(c *checker) {
		gone := c.final(omniq.StatusSuccess, resultTTL(0))
		c.notFound(gone.ID)
		forgotten := task()
		c.enqueue(forgotten)
		l := c.leaseOf(forgotten)
		c.put(l, "s", "1")
		require.NoError(c, c.settle(success(l, "1", long)))
		c.streams(forgotten.ID, "s", "1")
		require.NoError(c, c.forget(forgotten.ID))
		for _, id := range []uuid.UUID{uuid.New(), gone.ID, forgotten.ID} {
			_, err := c.b.Stream(c.Context(), omniq.StreamRequest{TaskID: id, Name: "s", Max: 1, Wait: long})
			assert.ErrorIs(c, err, omniq.ErrNotFound)
		}
	}},
	{name: "the items of a task outlive its attempts, and are gone when it is requeued, after which it goes on", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t)
		c.put(l, "s", "1")
		require.NoError(c, c.settle(retry(l)))
		l = c.leaseOf(t)
		c.put(l, "s", "2")
		c.streams(t.ID, "s", "1", "2")
		last := c.stream(omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 5}).Next
		require.NoError(c, c.settle(failure(l, long)))
		c.streams(t.ID, "s", "1", "2")
		require.NoError(c, c.requeue(t.ID))
		c.streams(t.ID, "s")
		w := c.reader(omniq.StreamRequest{TaskID: t.ID, Name: "s", After: last, Max: 5, Wait: long})
		c.blocks(w.done, "Stream")
		c.put(c.leaseOf(t), "s", "3")
		require.NoError(c, c.ended(w.done, "Stream"))
		assert.Equal(c, []string{"3"}, texts(w.page.Items), "who had read all before gets what is new")
		assert.Greater(c, w.page.Next, last)
		c.streams(t.ID, "s", "3")
	}},
	{name: "a request for a stream that cannot be is refused", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		for name, r := range map[string]omniq.StreamRequest{
			"no item":             {TaskID: t.ID, Name: "s"},
			"less than no item":   {TaskID: t.ID, Name: "s", Max: -1},
			"a negative position": {TaskID: t.ID, Name: "s", Max: 1, After: -1},
		} {
			_, err := c.b.Stream(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
	}},
	{name: "a Stream that waits ends with its context, and with the backend", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		r := omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 1, Wait: long}
		ctx, cancel := context.WithCancelCause(c.Context())
		cause := fmt.Errorf("the cause")
		done := async(func() error { _, err := c.b.Stream(ctx, r); return err })
		c.blocks(done, "Stream")
		cancel(cause)
		err := c.ended(done, "Stream")
		assert.ErrorIs(c, err, context.Canceled)
		_, err = c.b.Stream(ctx, r)
		assert.ErrorIs(c, err, context.Canceled)
		w := c.reader(r)
		c.blocks(w.done, "Stream")
		require.NoError(c, c.b.Close())
		assert.ErrorIs(c, c.ended(w.done, "Stream"), omniq.ErrClosed)
		_, err = c.b.Stream(c.Context(), r)
		assert.ErrorIs(c, err, omniq.ErrClosed)
	}},
	{name: "readers of a stream that is written meanwhile miss nothing", needs: notes, check: func(c *checker) {
		const n = 200
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t)
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
		}
		read := make([][]string, 4)
		var done []<-chan error
		for i := range read {
			done = append(done, async(func() error {
				r := omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 1 + 5*i, Wait: worst}
				for {
					page, err := c.b.Stream(c.Context(), r)
					read[i] = append(read[i], texts(page.Items)...)
					if err != nil || page.Ended || len(read[i]) > n {
						return err
					}
					r.After = page.Next
				}
			}))
		}
		for i := 0; i < n; i += 2 {
			c.put(l, "s", want[i], want[i+1])
		}
		require.NoError(c, c.settle(success(l, "1", long)))
		for i := range done {
			require.NoError(c, c.ended(done[i], "a reader"))
			assert.Equal(c, want, read[i])
		}
	}},
}

// reader is a call of Stream that has begun to wait.
type reader struct {
	done <-chan error
	page omniq.StreamPage
}

func (c *checker) reader(r omniq.StreamRequest) *reader {
	w := new(reader)
	w.done = async(func() (err error) { w.page, err = c.b.Stream(c.Context(), r); return err })
	return w
}

// stream reads a page of a stream.
func (c *checker) stream(r omniq.StreamRequest) omniq.StreamPage {
	c.Helper()
	page, err := c.b.Stream(c.Context(), r)
	require.NoError(c, err)
	return page
}

// streams checks what a stream has now.
func (c *checker) streams(id uuid.UUID, name string, want ...string) {
	c.Helper()
	page := c.stream(omniq.StreamRequest{TaskID: id, Name: name, Max: len(want) + 1})
	assert.Equal(c, want, texts(page.Items), "stream %s", name)
}

// put adds items to a stream.
func (c *checker) put(l omniq.Lease, name string, data ...string) {
	c.Helper()
	var n omniq.Notes
	for _, d := range data {
		n.Stream = append(n.Stream, omniq.StreamItem{Name: name, Data: omniq.Raw(d)})
	}
	require.NoError(c, c.note(l, n))
}

func texts(items []omniq.Raw) []string {
	var all []string
	for _, i := range items {
		all = append(all, string(i))
	}
	return all
}
