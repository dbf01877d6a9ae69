package backendtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// uniqueRules say what duplicates are reported, and who holds a unique key.
var uniqueRules = []rule{
	{name: "a duplicate names the task that is in its way", check: func(c *checker) {
		first, other, same := task(unique("k")), task(unique("k")), task(unique("l"))
		c.enqueue(first)
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{same, first, other, same, task(unique("l"))})
		require.NoError(c, err)
		require.Len(c, errs, 5)
		assert.NoError(c, errs[0])
		c.duplicate(errs[1], first.ID, first.ID)
		c.duplicate(errs[2], other.ID, first.ID)
		c.duplicate(errs[3], same.ID, same.ID)
		var d omniq.Duplicate
		require.ErrorAs(c, errs[4], &d)
		assert.Equal(c, same.ID, d.Holder)
		c.unknown(other.ID)
		assert.Equal(c, []uuid.UUID{first.ID, same.ID}, []uuid.UUID{c.leaseOne().TaskID, c.leaseOne().TaskID})
		c.none()
	}},
	{name: "a unique key is held until its task is final", check: func(c *checker) {
		for _, end := range append([]omniq.Status{omniq.StatusSuccess}, deaths...) {
			t := task(unique(end.String()))
			if end == omniq.StatusExpired {
				t.TTL = new(short)
			}
			c.enqueue(t)
			if end != omniq.StatusExpired {
				c.taken(t)
				l := c.leaseOne()
				c.taken(t)
				require.NoError(c, c.settle(retry(l)))
				c.taken(t)
				l = c.leaseOne()
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
				c.taken(t)
			}
			c.end(t, end)
			other := task(unique(end.String()))
			c.enqueue(other)
			c.taken(other)
			c.end(other, omniq.StatusSuccess)
		}
	}},
	{name: "a unique key is that of a function", check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t, task(unique("k"), named("g")), task(unique("K")), task(), task())
		c.enqueue(task(unique("k"), named("h"), queue("other")))
		assert.Error(c, c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{task(unique("k"), queue("other"))})), "in another queue")
		c.taken(t)
	}},
	{name: "a unique key for a time is held that long, whatever became of its task", check: func(c *checker) {
		for _, end := range append([]omniq.Status{omniq.StatusSuccess, 0}, deaths...) {
			c.inTime(func(d time.Duration, q string) bool {
				q += fmt.Sprintf("-%d", end)
				key, until := q, soon(d)
				var t *omniq.RawTask
				if end == 0 { // as long as it lives
					t = task(unique(key), lasts(d), queue(q))
					c.enqueue(t)
				} else {
					t = c.final(end, unique(key), lasts(d), queue(q), resultTTL(0))
				}
				other := task(unique(key), queue(q))
				err := c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{other}))
				if !time.Now().Before(until) {
					return false
				}
				c.duplicate(err, other.ID, t.ID)
				c.eventually("the key is free", func() bool {
					return c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{other})) == nil
				})
				assert.False(c, time.Now().Before(until), "it was free too early")
				c.taken(other)
				return true
			})
		}
	}},
	{name: "Forget does not end a unique key for a time", check: func(c *checker) {
		t := c.final(omniq.StatusSuccess, unique("k"), lasts(long))
		require.NoError(c, c.forget(t.ID))
		c.taken(t)
	}},
	{name: "a task is requeued only if it can have its unique key", check: func(c *checker) {
		for _, death := range deaths {
			t := c.final(death, unique("k"))
			other := task(unique("k"))
			c.enqueue(other)
			c.duplicate(c.requeue(t.ID), t.ID, other.ID)
			assert.Equal(c, death, c.result(t.ID).Status)
			c.end(other, omniq.StatusSuccess)
			require.NoError(c, c.requeue(t.ID))
			c.taken(t)
			c.end(t, omniq.StatusSuccess) // which gives it back
		}
	}},
	{name: "a task that holds its unique key for a time can be requeued", check: func(c *checker) {
		t := c.final(omniq.StatusFailure, unique("k"), lasts(long))
		require.NoError(c, c.requeue(t.ID))
		c.taken(t)
		c.end(t, omniq.StatusSuccess)
		c.taken(t)
	}},
	{name: "one of those who enqueue a unique key at once holds it", check: func(c *checker) {
		for range 10 {
			key := uuid.NewString()
			tasks := make([]*omniq.RawTask, 8)
			refused := make([]error, len(tasks))
			var calls []<-chan error
			for i := range tasks {
				tasks[i] = task(unique(key))
				calls = append(calls, async(func() error {
					errs, err := c.b.Enqueue(c.Context(), tasks[i:i+1])
					refused[i] = first(errs)
					return err
				}))
			}
			for _, done := range calls {
				require.NoError(c, c.ended(done, "Enqueue"))
			}
			l := c.leaseOne()
			for i, t := range tasks {
				if t.ID == l.TaskID {
					assert.NoError(c, refused[i])
				} else {
					c.duplicate(refused[i], t.ID, l.TaskID)
				}
			}
			c.none()
		}
	}},
}

func unique(key string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.UniqueKey = key } }

func lasts(d time.Duration) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.UniqueFor = d } }

// taken checks that a task holds its unique key.
func (c *checker) taken(by *omniq.RawTask) {
	c.Helper()
	t := task(unique(by.UniqueKey), named(by.FuncName))
	c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t})), t.ID, by.ID)
}

// duplicate checks an error of an enqueue.
func (c *checker) duplicate(err error, id, holder uuid.UUID) {
	c.Helper()
	require.ErrorIs(c, err, omniq.ErrDuplicate)
	var d omniq.Duplicate
	require.True(c, errors.As(err, &d), "%v is no Duplicate", err)
	require.Equal(c, omniq.Duplicate{ID: id, Holder: holder}, d)
}
