package logkey_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever logs, in the runtime and in the engines, takes its keys from this package.
func TestNobodyElseNamesKeys(t *testing.T) {
	calls := 0
	for _, pattern := range []string{"../../*.go", "../../backend/*/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				keys := keysOf(call)
				calls += len(keys)
				for _, key := range keys {
					_, literal := key.(*ast.BasicLit)
					assert.False(t, literal, "%v: a key of its own", set.Position(key.Pos()))
				}
				return true
			})
		}
	}
	assert.Greater(t, calls, 40, "the calls are not found any more")
}

// keysOf are the keys in a call that logs, or that makes an attribute.
func keysOf(call *ast.CallExpr) (keys []ast.Expr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || call.Ellipsis.IsValid() {
		return nil
	}
	var receiver string
	switch x := method.X.(type) {
	case *ast.Ident:
		receiver = x.Name
	case *ast.SelectorExpr:
		receiver = x.Sel.Name
	}
	pairs := call.Args
	switch name := method.Sel.Name; {
	case receiver == "slog" && slices.Contains([]string{"Any", "Bool", "Duration", "Int", "Int64", "String", "Time", "Uint64", "Float64"}, name):
		return call.Args[:1]
	case receiver != "log" && receiver != "logger":
		return nil
	case name == "With":
	case slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, name):
		pairs = call.Args[1:] // after the message
	default:
		return nil
	}
	for i := 0; i < len(pairs); i += 2 {
		keys = append(keys, pairs[i])
	}
	return keys
}
