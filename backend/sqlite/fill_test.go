package sqlite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/sqlite"
)

// rowsOf are the columns and values of the i-th row of a kind, in a file that is filled by SQL. ?2 is a moment, ?3 is now.
var rowsOf = map[string]struct{ table, columns, values string }{
	"scheduled": {"omniq_tasks", taskRow, "0, NULL, ?2, ?2, NULL, NULL, 0"},
	"ready":     {"omniq_tasks", taskRow, "1, NULL, ?3, NULL, NULL, NULL, 0"},
	"expiring":  {"omniq_tasks", taskRow, "1, ?2, ?3, ?2, NULL, NULL, 0"},
	"running":   {"omniq_tasks", taskRow, "2, NULL, ?3, ?2, 12345, 'w', 1"},
	"results": {
		"omniq_results", "id, name, queue, since, worker, status, expires, result, task",
		"blob(i), 'f', 'bulk', ?3, 'w', 3, ?2, result(i), NULL",
	},
	"waiting": {"omniq_tasks", taskRow + ", ties", "7, ?2, ?3, ?2, NULL, NULL, 0, 66"},
	"members": {"omniq_members", "flow, member, id", "unhex(printf('%032x', i / 100)), i % 100, blob(i)"},
	"held": {
		"omniq_results", "id, name, queue, since, status, result, ties, until, look", "blob(i), 'f', 'bulk', ?3, 3, result(i), 128, ?2, ?2",
	},
	"failures": {
		"omniq_results", "id, name, queue, since, worker, status, expires, result, task",
		"blob(i), 'f', 'bulk', ?3, 'w', 4, ?2, result(i), NULL",
	},
	"edges": {
		"omniq_edges", "task, n, dep, need, input, ended",
		"unhex(printf('%032x', i / 100)), i % 100, blob(i), 0, 1, i % 3",
	},
	"items":   {"omniq_items", "id, name, data", "unhex(printf('%032x', i / 100)), 's', '1'"},
	"notes":   {"omniq_notes", "id, kind, data", "blob(i), 0, '{}'"},
	"fallout": {"omniq_fallout", "id, status, name", "blob(i), 3, 'f'"},
	"keys":    {"omniq_unique", "name, key, id, until", "'f', 'key ' || i, blob(i), ?2"},
	"events":  {"omniq_events", "until, event", "?2, event(i)"},
}

const taskRow = "id, name, queue, priority, attempt, since, task, state, deadline, due, wake, token, worker, started"

// The values of a row that are made of its number.
const (
	sqlBlob   = "unhex(printf('%032x', i))"
	sqlID     = `"00000000-0000-0000-0000-%012x"`
	sqlTask   = `printf('{"id":` + sqlID + `,"func_name":"f","args":["some text",42],"kwargs":{},"created_at":"2026-11-25T00:00:00.000000Z","ttl":null,"queue":"bulk"}', i)`
	sqlResult = `printf('{"task_id":` + sqlID + `,"status":"SUCCESS","result_data":42,"timestamp":"2026-11-25T00:00:00.000000Z","ttl":null,"attempts":1}', i)`
	sqlEvent  = `printf('{"task_id":` + sqlID + `,"event_type":"STARTED","timestamp":"2026-11-25T00:00:00.000000Z","worker_id":null,"queue":"bulk"}', i)`
)

// fill adds n rows of a kind to queue "bulk", all with one moment, and counts them.
func fill(tb testing.TB, b *sqlite.Backend, kind string, first, n int, moment time.Time) {
	tb.Helper()
	k, ok := rowsOf[kind]
	require.True(tb, ok, kind)
	values := k.values
	if strings.HasPrefix(k.columns, taskRow) {
		values = "blob(i), 'f', 'bulk', 0, 0, ?3, task(i), " + values
	}
	for name, sql := range map[string]string{"blob(i)": sqlBlob, "task(i)": sqlTask, "result(i)": sqlResult, "event(i)": sqlEvent} {
		values = strings.ReplaceAll(values, name, sql)
	}
	_, err := b.DB().ExecContext(tb.Context(), fmt.Sprintf(`INSERT INTO %s (%s)
		WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1 + ?4) SELECT %s FROM n`,
		k.table, k.columns, values), first, moment.UnixMicro(), time.Now().UnixMicro(), n)
	require.NoError(tb, err, kind)
	b.Recount(tb)
}
