package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

// What each command writes, in each format. The files are read by people when they change.
func TestGolden(t *testing.T) {
	s := newShell(t)
	s.fill()
	require.NoError(t, s.client.Pause(t.Context(), "flows"))
	require.NoError(t, s.client.SetLimit(t.Context(), "mail", omniq.Limit{Running: 50, Rate: omniq.PerSecond(20), EachLane: omniq.LaneLimit{Running: 2}}))
	ref := omniq.ReferNoArgs[int]("report")
	_, err := omniq.Schedule(t.Context(), s.client, "report.nightly", omniq.Cron("30 2 * * *", "Europe/Berlin"), ref.With(), omniq.Overlap(omniq.BufferOne))
	require.NoError(t, err)
	_, err = omniq.Schedule(t.Context(), s.client, "mail.often", omniq.Every(time.Hour), ref.With())
	require.NoError(t, err)
	require.NoError(t, s.client.Schedule("mail.often").Pause(t.Context(), "the warehouse moves"))
	info, err := s.client.Inspect(t.Context(), id(11))
	require.NoError(t, err)
	flow := info.Flow.String()

	for name, args := range map[string]string{
		"stats":            "stats",
		"top":              "top --last 1h",
		"task-list":        "task list",
		"task-list-failed": "task list --status failure --queue mail --contains eve",
		"task-list-none":   "task list --queue nowhere",
		"task-get-failed":  "task get " + id(3).String(),
		"task-get-waiting": "task get " + id(11).String(),
		"task-result":      "task result " + id(1).String(),
		"task-result-bad":  "task result " + id(2).String(),
		"task-dry-run":     "task requeue --status failure --dry-run",
		"task-cancel":      "task cancel " + id(5).String() + " " + id(1).String() + " " + id(99).String(),
		"flow-list":        "flow list",
		"flow-get":         "flow get " + flow,
		"schedule-list":    "schedule list",
		"schedule-get":     "schedule get mail.often",
		"queue-list":       "queue list",
		"queue-limit":      "queue limit mail",
		"worker-list":      "worker list",
		"worker-list-none": "worker list --host elsewhere --queue mail",
		"events":           "events --type failed,cancelled",
		"errors":           "errors",
		"check":            "check --max-ready 0 --served --not-paused --min-workers 1 --max-failed 100",
		"check-ok":         "check --queue mail --max-ready 10",
		"migrate-status":   "migrate status",
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, format := range formats {
				status, out, err := s.run(append(strings.Fields(args), "-o", format)...)
				fmt.Fprintf(&got, "$ omniq %s -o %s\n%s", args, format, out)
				for line := range strings.Lines(err) {
					got.WriteString("! " + line)
				}
				fmt.Fprintf(&got, "exit status %d\n\n", status)
				isFormat(t, format, out)
			}
			text := stable(got.String())
			file := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), text)
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	require.NoError(t, err)
	assert.Len(t, files, 24, "one of each")
}

// isFormat checks that what is called JSON is.
func isFormat(t *testing.T, format, out string) {
	t.Helper()
	switch format {
	case "json":
		assert.True(t, out == "" || json.Valid([]byte(out)), out)
	case "jsonl":
		lines[any](t, out)
	}
}
