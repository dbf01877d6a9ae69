package omniq_test

import (
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each program in testdata/misuse has one mistake, which the compiler finds, and says so in its first line; but for
// control.go, which has none.
func TestMisuseDoesNotCompile(t *testing.T) {
	files, err := filepath.Glob("testdata/misuse/*.go")
	require.NoError(t, err)
	require.Contains(t, files, "testdata/misuse/control.go")
	exports := exportData(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".go"), func(t *testing.T) {
			set := token.NewFileSet()
			parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments)
			require.NoError(t, err)
			want, ok := strings.CutPrefix(parsed.Comments[0].Text(), "want: ")
			require.True(t, ok, "the first line must say what is wrong")
			want = strings.TrimSpace(want)

			var mistakes []string
			config := types.Config{
				Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
				Error: func(err error) {
					var e types.Error
					if assert.ErrorAs(t, err, &e) {
						mistakes = append(mistakes, e.Msg)
					}
				},
			}
			_, err = config.Check("main", set, []*ast.File{parsed}, nil)
			if want == "nothing" {
				require.NoError(t, err)
				return
			}
			require.NotEmpty(t, mistakes)
			assert.Contains(t, mistakes[0], want)
		})
	}
}

// exportData returns where what the compiler knows of each package is, by import path.
func exportData(t *testing.T) map[string]string {
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", ".").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Log(string(exit.Stderr))
	}
	require.NoError(t, err)
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	return exports
}
