package ui_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
	"github.com/omniq-go/omniq/internal/scene"
	"github.com/omniq-go/omniq/ui"
)

// status is the state that a task is in.
func (s *site) status(t *testing.T, id uuid.UUID) omniq.Status {
	t.Helper()
	info, err := s.Client.Inspect(t.Context(), id)
	require.NoError(t, err)
	return info.Status
}

func TestActionsOnTasks(t *testing.T) {
	s := open(t, ui.Everything)
	for _, tt := range []struct {
		path string
		id   uuid.UUID
		want func(*omniq.TaskInfo) bool
	}{
		{"task-run", s.Pending, func(i *omniq.TaskInfo) bool { return i.Status == omniq.StatusSuccess }},
		{"task-cancel", s.Orphan, func(i *omniq.TaskInfo) bool { return i.Status == omniq.StatusCancelled }},
		{"task-requeue", s.Orphan, func(i *omniq.TaskInfo) bool { return i.Status == omniq.StatusPending }},
		{"task-requeue", s.Panicked, func(i *omniq.TaskInfo) bool { return i.Status == omniq.StatusFailure }},
		{"task-back", s.Running, func(i *omniq.TaskInfo) bool { return i.Status == omniq.StatusRunning && i.Attempts == 1 }},
	} {
		status, where, body := post(t, s.handler, tt.path, "of", tt.id.String())
		require.Equal(t, http.StatusSeeOther, status, body)
		require.True(t, strings.HasPrefix(where, "./task?"), where)
		assert.Eventually(t, func() bool {
			info, err := s.Client.Inspect(t.Context(), tt.id)
			return err == nil && tt.want(info)
		}, 10*time.Second, time.Millisecond, tt.path)
		status, body = get(t, s.handler, strings.TrimPrefix(where, "./"))
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `class="note"`)
	}

	status, _, _ := post(t, s.handler, "task-free", "of", s.Keyed.String())
	assert.Equal(t, http.StatusSeeOther, status)
	require.ErrorIs(t, s.Client.FreeKey(t.Context(), "nobody.knows", "one at a time"), omniq.ErrNotFound)

	status, where, _ := post(t, s.handler, "task-forget", "of", s.Cancelled.String())
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, "./tasks?done=forgotten", where)
	_, err := s.Client.Inspect(t.Context(), s.Cancelled)
	require.ErrorIs(t, err, omniq.ErrNotFound)
}

// What the engine refuses is said on the page that it is about.
func TestRefusedActionsKeepThePage(t *testing.T) {
	s := open(t, ui.Everything)
	for _, tt := range []struct {
		name, path string
		form       []string
		status     int
		has        []string
	}{
		{"the state", "task-cancel", []string{"of", s.Succeeded.String()}, 409, []string{"not possible in the task&#39;s state", "mail.send", `action="task-forget"`}},
		{"no such task", "task-requeue", []string{"of", uuid.NewString()}, 404, []string{"no such task"}},
		{"no ID", "task-requeue", []string{"of", "1"}, 404, []string{"is no ID"}},
		{"a bad limit", "queue-limit", []string{"of", "mail", "limit", "many"}, 400, []string{`value="many"`, "mail.send"}},
		{"a bad queue", "queue-pause", []string{"of", "a b"}, 400, []string{"letters, digits"}},
		{"no queue", "queue-pause", nil, 404, []string{"No queue is named"}},
		{"no such schedule", "schedule-pause", []string{"of", "none"}, 404, []string{"no such task"}},
		{"a bad time", "schedule-backfill", []string{"of", "digest.daily", "from", "yesterday", "until", "2026-01-01T00:00"}, 400, []string{"is no time", "digest.daily"}},
		{"a time far away", "schedule-backfill", []string{"of", "digest.daily", "from", "0001-01-01T00:00", "until", "2026-01-01T00:00"}, 400, []string{"within ten years"}},
		{"times the wrong way round", "schedule-backfill", []string{"of", "digest.daily", "from", "2026-02-01T00:00", "until", "2026-01-01T00:00"}, 400, []string{"want a time before a later one", `value="2026-02-01T00:00"`}},
		{"a bulk action that is none", "bulk", []string{"do", "destroy"}, 400, []string{"no such action"}},
		{"a bulk action on what cannot be", "bulk", []string{"do", "cancel", "q", "status:SUCCESS"}, 409, []string{"cannot be cancelled"}},
		{"a form that is too long", "task-cancel", []string{"of", strings.Repeat("x", 70_000)}, 413, []string{"more than 65536 bytes"}},
		{"no such action", "task-explode", nil, 404, []string{"no such page"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := post(t, s.handler, tt.path, tt.form...)
			assert.Equal(t, tt.status, status)
			for _, text := range tt.has {
				assert.Contains(t, body, text)
			}
			assert.NotContains(t, body, "omniq: ", "it is no line of a log")
			assert.NotContains(t, body, "data-live", "live updates would take the message away")
		})
	}
}

func TestActionsOnQueues(t *testing.T) {
	s := open(t, ui.Everything)
	stats := func(name string) omniq.QueueStats {
		all, err := s.Client.Stats(t.Context())
		require.NoError(t, err)
		for _, one := range all {
			if one.Queue == name {
				return one
			}
		}
		return omniq.QueueStats{}
	}
	status, where, _ := post(t, s.handler, "queue-pause", "of", "mail")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, "./queue?done=paused&of=mail", where)
	assert.True(t, stats("mail").Paused)
	_, body := get(t, s.handler, "queues")
	assert.Equal(t, 2, strings.Count(body, `warn">paused<`))
	status, _, _ = post(t, s.handler, "queue-resume", "of", "mail")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.False(t, stats("mail").Paused)
	status, _, _ = post(t, s.handler, "queue-limit", "of", "mail", "limit", "7 3/m each 1")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, "7 3/m each 1", stats("mail").Limit.String())
	status, _, _ = post(t, s.handler, "queue-limit", "of", "mail", "limit", " ")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, omniq.Limit{}, stats("mail").Limit)
}

func TestActionsOnFlows(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.Client.Pause(t.Context(), "default"))
	stats := func() *omniq.FlowStats {
		stats, err := s.Client.Flow(s.Broken).Stats(t.Context())
		require.NoError(t, err)
		return &stats
	}
	status, where, _ := post(t, s.handler, "flow-retry", "of", s.Broken.String())
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Contains(t, where, "./flow?")
	assert.Equal(t, 1, stats().Open())
	status, _, _ = post(t, s.handler, "flow-requeue", "of", s.Broken.String())
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, 3, stats().Open())
	status, _, _ = post(t, s.handler, "flow-cancel", "of", s.Broken.String())
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, 0, stats().Open())
}

func TestActionsOnSchedules(t *testing.T) {
	s := open(t, ui.Everything)
	describe := func() *omniq.ScheduleInfo {
		info, err := s.Client.Schedule("digest.daily").Describe(t.Context())
		require.NoError(t, err)
		return info
	}
	status, where, _ := post(t, s.handler, "schedule-pause", "of", "digest.daily", "note", "the warehouse moves")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, "./schedule?done=paused&of=digest.daily", where)
	assert.Equal(t, "the warehouse moves", describe().Note)
	status, _, _ = post(t, s.handler, "schedule-resume", "of", "digest.daily")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.False(t, describe().Paused)
	status, where, _ = post(t, s.handler, "schedule-trigger", "of", "digest.daily")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Contains(t, where, "done=triggered")
	assert.EqualValues(t, 1, describe().Counts.Runs)
	status, _, _ = post(t, s.handler, "schedule-backfill", "of", "digest.daily", "from", "2026-03-02T00:00", "until", "2026-03-04T00:00")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Eventually(t, func() bool { return describe().Counts.Runs == 3 }, 10*time.Second, time.Millisecond)
	_, body := get(t, s.handler, "schedule?of=digest.daily")
	assert.Contains(t, body, "2026-03-03 06:00:00")
	status, where, _ = post(t, s.handler, "schedule-delete", "of", "digest.daily")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Equal(t, "./schedules?done=deleted", where)
	_, err := s.Client.Schedule("digest.daily").Describe(t.Context())
	require.ErrorIs(t, err, omniq.ErrNotFound)
}

// A trigger that no worker comes to is ordered, and not lost.
func TestTriggerWithoutAWorker(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.Client.Pause(t.Context(), omniq.ScheduleQueue))
	status, where, _ := post(t, s.handler, "schedule-trigger", "of", "digest.daily")
	assert.Equal(t, http.StatusSeeOther, status)
	assert.Contains(t, where, "done=ordered")
}

func TestEnqueueACopy(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.Client.Pause(t.Context(), "billing"))
	status, where, body := post(t, s.handler, "copy", "of", s.Failed.String(), "args", "[9007199254740999]", "kwargs", "{}",
		"queue", "billing", "lane", "l", "priority", "-2", "delay", "15m")
	require.Equal(t, http.StatusSeeOther, status, body)
	at, err := url.Parse(where)
	require.NoError(t, err)
	id := uuid.MustParse(at.Query().Get("of"))
	assert.NotEqual(t, s.Failed, id)
	info, err := s.Client.Inspect(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "[9007199254740999]", string(info.Task.Args))
	assert.Equal(t, map[string]string{"tenant": "17"}, info.Task.Metadata)
	assert.Equal(t, -2, info.Task.Priority)
	assert.Equal(t, "l", info.Lane)
	assert.Equal(t, 15*time.Minute, info.Task.Delay)

	before := s.count(t)
	for name, change := range map[string][2]string{
		"no JSON":         {"args", "[1"},
		"no array":        {"args", `{"a":1}`},
		"nothing":         {"args", ""},
		"no object":       {"kwargs", "[]"},
		"a bad delay":     {"delay", "soon"},
		"a long delay":    {"delay", "1000000h"},
		"a delay before":  {"delay", "-1h"},
		"a bad priority":  {"priority", "high"},
		"a bad queue":     {"queue", "a b"},
		"a schedule":      {"queue", omniq.ScheduleQueue},
		"a bad lane":      {"lane", "\x01"},
		"a high priority": {"priority", "99999999999999999999"},
	} {
		form := map[string]string{"of": s.Failed.String(), "args": "[1]", "kwargs": "{}", "queue": "billing", change[0]: change[1]}
		var pairs []string
		for k, v := range form {
			pairs = append(pairs, k, v)
		}
		status, _, body := post(t, s.handler, "copy", pairs...)
		assert.Equal(t, http.StatusBadRequest, status, name)
		assert.Contains(t, body, `class="problem"`, name)
		if change[0] == "delay" {
			assert.Contains(t, body, `value="`+change[1]+`"`, "what was typed is there to be mended")
		}
	}
	assert.Equal(t, before, s.count(t), "what cannot be read is not enqueued")
}

// Of a task that has succeeded there is a copy where it was enqueued with KeepTask, and the copy is kept, too.
func TestCopyOfASuccess(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h, err := omniq.ReferArgs[omniq.Args1[int], int]("report").Enqueue(t.Context(), client, omniq.MakeArgs1(2026), omniq.KeepTask())
	require.NoError(t, err)
	leases, err := backend.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Minute, WorkerID: "w"})
	require.NoError(t, err)
	require.Len(t, leases, 1)
	errs, err := backend.Settle(t.Context(), []omniq.Settlement{{
		LeaseID: leases[0].LeaseID, Action: omniq.ActionFinish, KeepTask: true,
		Result: &omniq.RawResult{TaskID: h.ID(), Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now(), Attempts: 1},
	}})
	require.NoError(t, err)
	require.Empty(t, errs)
	site := serve(t, client, ui.Everything)
	_, body := get(t, site, "task?of="+h.ID().String())
	assert.Contains(t, body, "[\n  2026\n]")
	assert.Contains(t, body, "copy?of="+h.ID().String())
	_, body = get(t, site, "tasks?q=2026")
	assert.Contains(t, body, h.ID().String())
	status, where, body := post(t, site, "copy", "of", h.ID().String(), "args", "[2027]", "kwargs", "{}", "queue", "", "priority", "0")
	require.Equal(t, http.StatusSeeOther, status, body)
	at, err := url.Parse(where)
	require.NoError(t, err)
	id, err := uuid.Parse(at.Query().Get("of"))
	require.NoError(t, err)
	info, err := client.Inspect(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "[2027]", string(info.Task.Args))
	assert.True(t, info.Task.KeepTask)
}

func (s *site) count(t *testing.T) (n int) {
	t.Helper()
	for _, err := range s.Client.Search(t.Context(), omniq.Query{}) {
		require.NoError(t, err)
		n++
	}
	return n
}

func TestBulk(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.Client.Pause(t.Context(), "billing"))
	status, _, body := post(t, s.handler, "bulk", "do", "requeue", "q", "queue:billing")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "5 tasks enqueued again")
	assert.True(t, strings.HasSuffix(strings.TrimSpace(body), "</html>"))
	assert.Equal(t, omniq.StatusPending, s.status(t, s.Failed))
	assert.Equal(t, omniq.StatusFailure, s.status(t, s.Panicked), "the filter holds")

	_, _, body = post(t, s.handler, "bulk", "do", "cancel", "q", "queue:billing")
	assert.Contains(t, body, "5 tasks cancelled")
	_, _, body = post(t, s.handler, "bulk", "do", "forget", "q", "queue:billing status:CANCELLED")
	assert.Contains(t, body, "5 tasks forgotten")
	_, err := s.Client.Inspect(t.Context(), s.Failed)
	require.ErrorIs(t, err, omniq.ErrNotFound)

	groups, err := s.Client.ErrorGroups(t.Context(), omniq.Query{Name: "import.crash"})
	require.NoError(t, err)
	require.Len(t, groups, 1)
	_, _, body = post(t, s.handler, "bulk", "do", "requeue", "q", "status:FAILURE", "type", groups[0].Type, "message", groups[0].Message)
	assert.Contains(t, body, "1 task enqueued again")
}

// A bulk action is about what was confirmed, also where a text has become the name of a function meanwhile.
func TestBulkDoesWhatWasConfirmed(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h, err := omniq.ReferArgs[omniq.Args1[string], int]("other").Enqueue(t.Context(), client, omniq.MakeArgs1("mail.send"))
	require.NoError(t, err)
	_, body := get(t, serve(t, client, ui.Everything), "confirm?do=cancel&q=mail.send")
	require.Contains(t, body, "Cancel 1 task?")
	require.Contains(t, body, `name="q" value="mail.send"`)
	_, err = omniq.ReferNoArgs[int]("mail.send").Enqueue(t.Context(), client, omniq.Queue("mail"))
	require.NoError(t, err)
	_, _, body = post(t, serve(t, client, ui.Everything), "bulk", "do", "cancel", "q", "mail.send")
	assert.Contains(t, body, "cancelled")
	info, err := client.Inspect(t.Context(), h.ID())
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusCancelled, info.Status)
}

// What is refused is told by its reason, with one of the tasks.
func TestBulkRefusals(t *testing.T) {
	s := open(t, ui.Everything)
	require.NoError(t, s.Client.Cancel(t.Context(), s.Keyed))
	ref := omniq.ReferNoArgs[int]("nobody.knows", omniq.Queue("orphans"))
	_, err := ref.Enqueue(t.Context(), s.Client, omniq.Unique("one at a time"))
	require.NoError(t, err)
	_, _, body := post(t, s.handler, "bulk", "do", "requeue", "q", "queue:orphans status:CANCELLED")
	assert.Contains(t, body, "1 task enqueued again")
	assert.Contains(t, body, "These were refused")
	assert.Contains(t, body, "holds the unique key")
	assert.NotContains(t, body, "omniq: ", "it is no line of a log")
	assert.Contains(t, body, s.Keyed.String())
}

// A bulk action goes on for as long as it takes, and says meanwhile how far it is; it ends when the browser goes.
func TestBulkEndsWithItsRequest(t *testing.T) {
	s := open(t, ui.Everything)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/bulk", strings.NewReader("do=requeue&q=queue:billing"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, body := ask(t, s.handler, r)
	assert.Contains(t, body, "0 tasks enqueued again")
	assert.Contains(t, body, "broke off")
	assert.Equal(t, omniq.StatusFailure, s.status(t, s.Failed))
}

func TestHostileSchedule(t *testing.T) {
	s := open(t, ui.Everything)
	name := "a/b c.%2F" + scene.Hostile[:60]
	status, body := get(t, s.handler, query("schedule", "of", name))
	assert.Equal(t, http.StatusOK, status)
	assert.NotContains(t, body, "<script>alert")
	status, _, _ = post(t, s.handler, "schedule-resume", "of", name)
	assert.Equal(t, http.StatusSeeOther, status)
	_, body = get(t, s.handler, "schedules")
	assert.NotContains(t, body, ">paused<")
}

// To cancel a schedule's task would delete the schedule: that is another right, and no bulk action does it by the way.
func TestSchedulesAreNoTasks(t *testing.T) {
	s := open(t, ui.View|ui.Act)
	var ids []uuid.UUID
	for info, err := range s.Client.List(t.Context(), omniq.StatusPending, omniq.ScheduleQueue) {
		require.NoError(t, err)
		ids = append(ids, info.ID)
	}
	require.Len(t, ids, 2)
	for _, id := range ids {
		for _, path := range []string{"task-cancel", "task-back", "task-run", "task-forget"} {
			status, _, body := post(t, s.handler, path, "of", id.String())
			assert.Equal(t, http.StatusConflict, status, path)
			assert.Contains(t, body, "it is a schedule", path)
		}
	}
	_, _, body := post(t, s.handler, "bulk", "do", "cancel", "q", "queue:"+omniq.ScheduleQueue)
	assert.Contains(t, body, "0 tasks cancelled")
	_, _, body = post(t, s.handler, "bulk", "do", "cancel")
	assert.Contains(t, body, "tasks cancelled")
	for _, id := range ids {
		assert.Equal(t, omniq.StatusPending, s.status(t, id))
	}
	assert.Equal(t, omniq.StatusCancelled, s.status(t, s.Pending))
}

// slow is an engine that takes its time to cancel.
type slow struct{ omniq.Backend }

func (s slow) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	time.Sleep(time.Second)
	return s.Backend.Cancel(ctx, ids)
}

// A bulk action that lasts says meanwhile how far it is.
func TestBulkSaysHowFarItIs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		backend := memory.New()
		defer func() { _ = backend.Close() }()
		client, err := omniq.NewClient(slow{backend})
		require.NoError(t, err)
		ref := omniq.ReferNoArgs[int]("many")
		for range 2500 {
			_, err := ref.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		_, _, body := post(t, serve(t, client, ui.View|ui.Act), "bulk", "do", "cancel", "q", "name:many")
		assert.Contains(t, body, "<p>1,001 so far</p>")
		assert.Contains(t, body, "<p>2,001 so far</p>")
		assert.Contains(t, body, "2,500 tasks cancelled")
		assert.Less(t, strings.Index(body, "so far"), strings.Index(body, "tasks cancelled"))
	})
}
