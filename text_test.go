package omniq_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// A text of an error is cut to what every engine can keep, on a boundary of characters, and says so.
func TestErrorTextsAreCut(t *testing.T) {
	const limit = 64 << 10
	tests := []struct {
		name, text string
		cut        bool
	}{
		{"short", "boom", false},
		{"at the limit", strings.Repeat("x", limit), false},
		{"above the limit", strings.Repeat("x", limit+1), true},
		{"a page", strings.Repeat("x", 17<<20), true},
		{"of two bytes each", strings.Repeat("é", limit), true},
		{"of three bytes each", strings.Repeat("→", limit), true},
		{"of four bytes each", "x" + strings.Repeat("🎉", limit), true},
		{"not UTF-8", strings.Repeat("a\xff", limit), true},
		{"not UTF-8, and short", "a\xff", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			valid := strings.ToValidUTF8(tt.text, "\uFFFD")
			for name, got := range map[string]string{
				"message": omniq.NewTaskError(errors.New(tt.text)).Message,
				"stack":   omniq.NewTaskError(&omniq.TaskError{Stack: tt.text}).Stack,
				"type":    omniq.NewTaskError(&omniq.TaskError{Type: tt.text}).Type,
				"kept":    omniq.NewTaskError(&omniq.TaskError{Message: tt.text}).Message,
			} {
				if !tt.cut {
					assert.Equal(t, valid, got, name)
					continue
				}
				require.LessOrEqual(t, len(got), limit, name)
				require.True(t, utf8.ValidString(got), name)
				kept, mark, ok := strings.Cut(got, "... (")
				require.True(t, ok, name)
				assert.True(t, strings.HasPrefix(valid, kept), name)
				assert.Greater(t, len(kept), limit-60, name)
				assert.Regexp(t, `^\d+ bytes cut\)$`, mark, name)
				assert.Equal(t, got, omniq.NewTaskError(&omniq.TaskError{Message: got}).Message, "what was cut is not cut again")
			}
		})
	}
}

func FuzzErrorText(f *testing.F) {
	f.Add("boom", 1)
	f.Add("é\xff", 40000)
	f.Fuzz(func(t *testing.T, s string, n int) {
		text := strings.Repeat(s, min(max(n, 0), 200_000/(len(s)+1)))
		got := omniq.NewTaskError(errors.New(text)).Message
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), 64<<10)
		require.Equal(t, got, omniq.NewTaskError(errors.New(got)).Message)
	})
}
