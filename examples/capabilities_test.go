// Package examples_test keeps the table in docs/engines.md of what the engines can do as they say it themselves.
package examples_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/examples/internal/server"
)

var update = flag.Bool("update", false, "write the table into docs/engines.md")

const page = "../docs/engines.md"

// words say what the fields of [omniq.Capabilities] mean to who chooses an engine.
var words = map[string]string{
	"Durable":      "tasks and results survive the end of the process",
	"Survives":     "the most that acknowledged work survives: the end of the process, of the server, of power, of the machine",
	"Shared":       "several processes can use it at once",
	"Fencing":      "who has lost a lease cannot settle the task",
	"AtomicFinish": "the result is recorded and the task removed in one step",
	"Priorities":   "tasks with a higher priority are leased first",
	"PushLease":    "a new task wakes an idle worker in whatever process; else other processes poll",
	"PushResult":   "a result wakes who waits for it in whatever process; else other processes poll",
	"PushCancel":   "a cancelled task's handler is told in whatever process; else other processes poll",
	"Transactions": "tasks can be enqueued in a transaction of the caller's database",
	"Flows":        "tasks wait for tasks: flows of typed calls",
	"Notes":        "progress, state and streams of running tasks",
	"Replaces":     "debounced tasks: one takes the place of another with its unique key",
	"Limits":       "limits and lanes of queues",
	"Events":       "events, if it was opened with them",
	"AtomicEvents": "events are written in one step with what they tell of",
	"Spread":       "its queues live in several engines: see [Route](#several-engines-as-one)",
	"MaxTaskSize":  "the most bytes of a task's arguments",
}

func TestReadmeShowsCapabilities(t *testing.T) {
	config := omniq.DefaultConfig()
	config.Events = time.Hour
	var engines []omniq.Capabilities
	for _, url := range []string{"memory:", "sqlite:" + filepath.Join(t.TempDir(), "queue.db"), server.URL(t), server.Redis(t)} {
		config.BackendURL = url
		b, err := config.Open(t.Context(), memory.Engine, sqlite.Engine, postgres.Engine, redis.Engine)
		require.NoError(t, err)
		engines = append(engines, b.Capabilities())
		require.NoError(t, b.Close())
	}
	table := matrix(t, engines)

	text, err := os.ReadFile(page)
	require.NoError(t, err)
	marked := regexp.MustCompile(`(?s)(<!-- capabilities -->\n).*?(<!-- /capabilities -->\n)`)
	require.True(t, marked.Match(text), "docs/engines.md has no place for the table")
	want := marked.ReplaceAllString(string(text), "${1}"+table+"${2}")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	assert.Equal(t, want, string(text), "docs/engines.md is not what the engines say: go test ./examples -update")
}

// matrix is a table in Markdown with a line for each field and a column for each engine.
func matrix(t *testing.T, engines []omniq.Capabilities) string {
	t.Helper()
	head, rule := "| |", "|---|"
	for _, e := range engines {
		head += " `" + e.Name + "` |"
		rule += ":---:|"
	}
	lines := []string{head, rule}
	fields := reflect.TypeFor[omniq.Capabilities]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if name == "Name" {
			continue
		}
		require.Contains(t, words, name, "there are no words for a new field")
		cells := []string{words[name]}
		for _, e := range engines {
			cells = append(cells, say(reflect.ValueOf(e).Field(i).Interface()))
		}
		lines = append(lines, "| "+strings.Join(cells, " | ")+" |")
	}
	assert.Len(t, words, fields.NumField()-1, "there are words for a field that is gone")
	return strings.Join(lines, "\n") + "\n"
}

func say(value any) string {
	switch value {
	case true:
		return "yes"
	case false:
		return "no"
	case 0:
		return "no bound"
	}
	return fmt.Sprint(value)
}
