package uitest_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// The tests beside the handler are on the engine in memory; here pages and searches are those of one on disk.
func TestOverSQLite(t *testing.T) {
	s := open(t)
	for path, has := range map[string]string{
		"queues": "no worker takes this queue", "queue?of=mail": "50 20/s each 2", "tasks": "report.build", "tasks?q=bob@example.org": s.Pending.String(),
		"tasks?q=meta.tenant:18": s.Pending.String(), "tasks?q=error:no+card": s.Failed.String(), "tasks?q=worker:worker-1": "report.build",
		"tasks?q=flow:" + s.Flow.String(): "page.index", "tasks?q=name:mail.send+status:SUCCESS": s.Succeeded.String(),
		"task?of=" + s.Panicked.String(): "the import has a hole", "task?of=" + s.Encrypted.String(): "encrypted by key", "flow?of=" + s.Broken.String(): "<svg",
		"schedules": "digest.daily", "errors": "customer * has no card", "workers": "worker-1", "confirm?do=requeue&q=queue:billing": "Requeue 5 tasks?",
		"metrics": `omniq_queue_tasks{queue="billing",state="failed"} 5`, "readyz": "ok",
	} {
		res, err := s.server.Client().Get(s.server.URL + "/" + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusOK, res.StatusCode, path)
		assert.Contains(t, string(body), has, path)
	}
	res, err := s.server.Client().PostForm(s.server.URL+"/bulk", url.Values{"do": {"forget"}, "q": {"queue:billing"}})
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Contains(t, string(body), "5 tasks forgotten")
	_, err = s.Client.Inspect(t.Context(), s.Failed)
	require.ErrorIs(t, err, omniq.ErrNotFound)
}
