package backendtest

import (
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// noteRules say what is kept of what handlers have to say of their tasks.
var noteRules = []rule{
	{name: "what a handler says of its progress is shown, the last one", needs: notes, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		assert.Nil(c, c.inspect(l.TaskID).Progress)
		for _, text := range []string{`{"done":1}`, `{"done":{"of":[2,null]}}`, `{}`} {
			require.NoError(c, c.note(l, omniq.Notes{Progress: omniq.Raw(text)}))
			assert.Equal(c, text, string(c.inspect(l.TaskID).Progress))
		}
		require.NoError(c, c.note(l, omniq.Notes{State: omniq.Raw(`{"s":1}`)}))
		require.NoError(c, c.note(l, omniq.Notes{}))
		info := c.inspect(l.TaskID)
		assert.Equal(c, `{}`, string(info.Progress), "what is not said again stays")
		assert.Equal(c, `{"s":1}`, string(info.State))
		all := c.list(omniq.ListRequest{Status: omniq.StatusRunning, Max: 5})
		require.Len(c, all, 1)
		assert.Equal(c, info, all[0])
	}},
	{name: "the next attempt of a task has the state that the last one has left, however that ended", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t)
		assert.Nil(c, l.State)
		require.NoError(c, c.note(l, omniq.Notes{State: omniq.Raw(`{"at":0}`)}))
		for i, end := range []omniq.Settlement{
			retry(l), {Action: omniq.ActionRelease}, {Action: omniq.ActionDefer},
		} {
			end.LeaseID = l.LeaseID
			require.NoError(c, c.settle(end))
			l = c.leaseOf(t)
			assert.JSONEq(c, `{"at":0}`, string(l.State), "after end %d", i)
		}
		require.NoError(c, c.note(l, omniq.Notes{State: omniq.Raw(`{"at":1}`)}))
		require.NoError(c, c.settle(retry(l)))
		l = c.leaseOf(t, lasting(short))
		if err := c.note(l, omniq.Notes{State: omniq.Raw(`{"at":2}`)}); err != nil {
			require.ErrorIs(c, err, omniq.ErrLeaseLost) // the machine is slow
		}
		c.lost(t.ID)
		want := string(c.inspect(t.ID).State)
		l = c.leaseOf(t)
		assert.Equal(c, want, string(l.State))
		assert.Contains(c, want, `{"at":`)
		assert.Equal(c, t, l.Task)
	}},
	{name: "a settlement brings notes, which are kept with it", needs: func(c omniq.Capabilities) bool {
		return c.Notes && c.Flows
	}, check: func(c *checker) {
		for i, end := range endings {
			t := task(queue(queueOf(i)))
			c.enqueue(t)
			s := end(c.leaseOf(t))
			s.Effects = &omniq.Effects{Notes: omniq.Notes{
				Progress: omniq.Raw(`{"p":1}`), State: omniq.Raw(`{"s":2}`), Stream: []omniq.StreamItem{{Name: "rows", Data: omniq.Raw("3")}},
			}}
			require.NoError(c, c.settle(s))
			info := c.inspect(t.ID)
			assert.Equal(c, `{"p":1}`, string(info.Progress), "ending %d", i)
			if info.Status == omniq.StatusSuccess {
				assert.Nil(c, info.State, "nobody needs it after a success")
			} else {
				assert.Equal(c, `{"s":2}`, string(info.State), "ending %d", i)
			}
			c.streams(t.ID, "rows", "3")
			if s.Action != omniq.ActionFinish {
				assert.Equal(c, `{"s":2}`, string(c.leaseOf(t).State), "ending %d", i)
			}
		}
	}},
	{name: "progress is kept with the result, state unless the task has succeeded", needs: notes, check: func(c *checker) {
		for _, s := range []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure, omniq.StatusCancelled} {
			t := task(queue("q"))
			c.enqueue(t)
			l := c.leaseOf(t)
			require.NoError(c, c.note(l, omniq.Notes{Progress: omniq.Raw(`{"p":1}`), State: omniq.Raw(`{"s":1}`)}))
			switch s {
			case omniq.StatusCancelled:
				require.NoError(c, c.cancel(t.ID))
			case omniq.StatusFailure:
				require.NoError(c, c.settle(failure(l, long)))
			default:
				require.NoError(c, c.settle(success(l, "1", long)))
			}
			info := c.inspect(t.ID)
			assert.Equal(c, s, info.Status)
			assert.Equal(c, `{"p":1}`, string(info.Progress), s)
			if s == omniq.StatusSuccess {
				assert.Nil(c, info.State)
				continue
			}
			assert.Equal(c, `{"s":1}`, string(info.State), s)
			require.NoError(c, c.requeue(t.ID))
			info = c.inspect(t.ID)
			assert.Nil(c, info.Progress, "after a requeue")
			assert.Equal(c, `{"s":1}`, string(info.State), "after a requeue")
			assert.Equal(c, `{"s":1}`, string(c.leaseOf(t).State), "after a requeue")
		}
	}},
	{name: "with a lease that is lost nothing is noted, and nothing begins to exist", needs: func(c omniq.Capabilities) bool {
		return c.Notes && c.Fencing
	}, check: func(c *checker) {
		for range 5 {
			c.enqueue(task())
		}
		held, settled, cancelled, gone, lost := c.leaseOne(), c.leaseOne(), c.leaseOne(), c.leaseOne(), c.leaseOne(lasting(short))
		require.NoError(c, c.settle(success(settled, "1", long)))
		require.NoError(c, c.cancel(cancelled.TaskID))
		require.NoError(c, c.settle(success(gone, "1", 0)))
		c.lost(lost.TaskID)
		unknown := omniq.LeaseID{TaskID: uuid.New(), Token: held.Token}
		var all []omniq.LeaseNotes
		for _, id := range []omniq.LeaseID{settled.LeaseID, held.LeaseID, cancelled.LeaseID, gone.LeaseID, lost.LeaseID, unknown} {
			all = append(all, omniq.LeaseNotes{LeaseID: id, Notes: omniq.Notes{
				Progress: omniq.Raw(`{}`), State: omniq.Raw(`{}`), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}},
			}})
		}
		errs, err := c.b.Note(c.Context(), all)
		c.places(errs, err, omniq.ErrLeaseLost, nil, omniq.ErrCancelled, omniq.ErrLeaseLost, omniq.ErrLeaseLost, omniq.ErrLeaseLost)
		for _, id := range []uuid.UUID{settled.TaskID, cancelled.TaskID, lost.TaskID} {
			info := c.inspect(id)
			assert.Nil(c, info.Progress)
			assert.Nil(c, info.State)
			c.streams(id, "s")
		}
		c.unknown(gone.TaskID)
		c.unknown(unknown.TaskID)
		c.streams(held.TaskID, "s", "1")
		assert.NotNil(c, c.inspect(held.TaskID).Progress)
	}},
	{name: "notes that nobody could read are refused, and the others of their call are kept", needs: notes, check: func(c *checker) {
		c.enqueue(task(), task(), task())
		l, bad, last := c.leaseOne(), c.leaseOne(), c.leaseOne()
		good := omniq.Notes{Progress: omniq.Raw(`{"good":1}`)}
		large := omniq.Raw(`{"x":"` + strings.Repeat("x", omniq.MaxNotes) + `"}`)
		item := func(name, data string) omniq.Notes {
			return omniq.Notes{Progress: good.Progress, Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}, {Name: name, Data: omniq.Raw(data)}}}
		}
		for name, n := range map[string]omniq.Notes{
			"progress without an end":    {Progress: omniq.Raw("{"), State: omniq.Raw("{}")},
			"progress that is a list":    {Progress: omniq.Raw("[]"), State: omniq.Raw("{}")},
			"state that is null":         {Progress: good.Progress, State: omniq.Raw("null")},
			"state that is too large":    {Progress: good.Progress, State: large},
			"progress that is too large": {Progress: large},
			"a stream without a name":    item("", "1"),
			"a name with a control":      item("a\nb", "1"),
			"a name that is too long":    item(strings.Repeat("n", omniq.MaxNameLen+1), "1"),
			"an item without data":       item("s", ""),
			"an item without an end":     item("s", "["),
			"an item that is too large":  item("s", string(large)),
		} {
			errs, err := c.b.Note(c.Context(), []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: good}, {LeaseID: bad.LeaseID, Notes: n}, {LeaseID: last.LeaseID, Notes: good}})
			c.places(errs, err, nil, omniq.ErrInvalid, nil)
			info := c.inspect(bad.TaskID)
			assert.Nil(c, info.Progress, name)
			assert.Nil(c, info.State, name)
			c.streams(bad.TaskID, "s")
		}
		for _, l := range []omniq.Lease{l, last} {
			assert.Equal(c, string(good.Progress), string(c.inspect(l.TaskID).Progress))
		}
		assert.NoError(c, c.settle(success(bad, "1", long)), "its lease goes on")
		errs, err := c.b.Note(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
	}},
	{name: "notes that are just allowed are kept as they were", needs: notes, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		text := omniq.Raw(`{"x":"` + strings.Repeat("x", omniq.MaxNotes-8) + `"}`)
		name := strings.Repeat("n", omniq.MaxNameLen)
		require.NoError(c, c.note(l, omniq.Notes{Progress: text, State: text, Stream: []omniq.StreamItem{{Name: name, Data: text}}}))
		info := c.inspect(l.TaskID)
		assert.True(c, string(text) == string(info.Progress))
		assert.True(c, string(text) == string(info.State))
		page := c.stream(omniq.StreamRequest{TaskID: l.TaskID, Name: name, Max: 2})
		require.Len(c, page.Items, 1)
		assert.True(c, string(text) == string(page.Items[0]))
	}},
	{name: "to note is not to extend, to start or to change what is leased", needs: notes, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t, aheadOfTurn)
		require.NoError(c, c.note(l, omniq.Notes{Progress: omniq.Raw(`{}`), State: omniq.Raw(`{"s":1}`)}))
		info := c.inspect(t.ID)
		assert.Zero(c, info.Attempts)
		assert.Equal(c, omniq.StatusRunning, info.Status)
		assert.Equal(c, t, info.Task)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		l = c.leaseOf(t, lasting(short))
		c.eventually("the lease runs out, however often something is noted", func() bool {
			return c.note(l, omniq.Notes{Progress: omniq.Raw(`{}`)}) != nil
		})
		c.lost(t.ID)
		assert.Equal(c, t, c.leaseOf(t).Task)
	}},
}

// note keeps notes of a lease, and returns what became of them.
func (c *checker) note(l omniq.Lease, n omniq.Notes) error {
	c.Helper()
	return c.only(c.b.Note(c.Context(), []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: n}}))
}
