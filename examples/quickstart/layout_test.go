package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

// What a person looks at fits a terminal; what a program reads is whole.
func TestLinesFit(t *testing.T) {
	digest, deep := strings.Repeat("0123456789abcdef", 8), strings.Repeat("каталог/", 20)+"файл.txt"
	for _, width := range []int{0, 40, 80, 120, 300} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			var out bytes.Buffer
			r := &report{stdout: &out, stderr: &bytes.Buffer{}, width: width, started: time.Now().Add(-time.Hour)}
			for i, file := range []string{"a", deep, "b\n" + deep} {
				r.rows = append(r.rows, row{file, tasks.Summary{Digest: digest, Bytes: int64(123456789 * i), Lines: int64(1234567 * i)}})
			}
			require.NoError(t, r.print(false))
			e := omniq.TaskEvent{TaskID: uuid.New(), EventType: omniq.EventCompleted, Timestamp: time.Now(), Attempt: 100}
			out.WriteString(eventLine(&e, width))
			if width == 0 {
				assert.Contains(t, out.String(), digest)
				assert.Contains(t, out.String(), deep)
				return
			}
			for line := range strings.Lines(out.String()) {
				assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), width, line)
			}
			assert.Contains(t, out.String(), "л.txt", "the end of a name tells more than its beginning")
		})
	}
}

func TestUnknownFlag(t *testing.T) {
	status, out, errs := quickstart(t, "-nonsense")
	assert.Equal(t, 2, status)
	assert.Empty(t, out)
	assert.Equal(t, "quickstart: flag provided but not defined: -nonsense; -h shows the flags\n", errs)
}
