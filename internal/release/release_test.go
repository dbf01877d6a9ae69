package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// repository is a small one: a root module, an engine that needs it, a program that needs both, and a tool of its own.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module example.org/q\n\ngo 1.26.0\n",
		"q.go":            "package q\n\nconst Version = 1\n",
		"LICENSE":         "MIT\n",
		"go.work":         "go 1.26.0\n\nuse (\n\t.\n\t./engine\n\t./program\n\t./internal/tool\n)\n\nreplace example.org/q v0.0.1 => ./\n",
		"engine/go.mod":   "module example.org/q/engine\n\ngo 1.26.0\n\nrequire example.org/q v0.0.1\n",
		"engine/e.go":     "package engine\n\nimport \"example.org/q\"\n\nconst Version = q.Version\n",
		"program/go.mod":  "module example.org/q/program\n\ngo 1.26.0\n\nrequire (\n\texample.org/q v0.0.1\n\texample.org/q/engine v0.0.1\n)\n",
		"program/main.go": "package main\n\nimport (\n\t\"example.org/q\"\n\t\"example.org/q/engine\"\n)\n\nfunc main() { println(\"version\", q.Version+engine.Version) }\n",
		"internal/tool/go.mod": "module example.org/q/internal/tool\n\ngo 1.26.0\n\nrequire example.org/q v0.0.1\n\n" +
			"replace example.org/q => ../..\n",
		"internal/tool/tool.go": "package tool\n\nimport _ \"example.org/q\"\n",
	} {
		write(t, filepath.Join(root, name), text)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"config", "user.name", "Test"}, {"config", "user.email", "test@example.org"},
		{"add", "."}, {"commit", "--quiet", "--message", "begin"},
	} {
		_, err := git(root, args...)
		require.NoError(t, err)
	}
	return root
}

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
}

// onlyFrom lets the go command see the modules of a proxy and no others.
func onlyFrom(t *testing.T, p proxy) {
	t.Helper()
	for name, value := range map[string]string{
		"GOPROXY": "file://" + filepath.ToSlash(string(p)), "GONOSUMDB": "*", "GOWORK": "off", "GOFLAGS": "-modcacherw",
		"GOMODCACHE": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
}

// A stranger gets each module by itself, and runs the program without a checkout.
func TestRelease(t *testing.T) {
	root, p := repository(t), proxy(t.TempDir())
	onlyFrom(t, p)
	for _, version := range []string{"v0.1.0", "v0.2.0-rc.1", "v0.2.0"} {
		tags, err := release(root, version, p)
		require.NoError(t, err)
		assert.Equal(t, []string{version, "engine/" + version, "program/" + version}, tags)
		status, err := git(root, "status", "--porcelain")
		require.NoError(t, err)
		assert.Empty(t, status)
	}
	for _, path := range []string{"example.org/q/engine", "example.org/q", "example.org/q/program"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "go.mod"), "module stranger\n\ngo 1.26.0\n")
		cmd := exec.Command("go", "get", path+"@latest")
		cmd.Dir = dir
		_, err := output(cmd)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		require.NoError(t, err)
		assert.Contains(t, string(got), path+" v0.2.0")
		if path != "example.org/q" {
			assert.Contains(t, string(got), "example.org/q v0.2.0", "the root that it was made with")
		}
	}
	cmd := exec.Command("go", "run", "example.org/q/program@latest")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "version 2\n")
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	require.NoError(t, err)
	assert.Contains(t, string(work), "example.org/q/engine v0.2.0 => ./engine")
	assert.NotContains(t, string(work), "v0.0.1")
}

// What cannot be a release changes nothing.
func TestReleaseRefuses(t *testing.T) {
	tests := []struct {
		name    string
		change  func(t *testing.T, root string)
		version string
		want    string
	}{
		{"no version", nil, "0.2.0", "is no version"},
		{"a version that is not whole", nil, "v0.2", "is no version"},
		{"another major version", nil, "v2.0.0", "module paths that end in /v2"},
		{"an old version", func(t *testing.T, root string) {
			_, err := git(root, "tag", "v0.3.0")
			require.NoError(t, err)
		}, "v0.2.0", "is not after v0.3.0"},
		{"changes", func(t *testing.T, root string) { write(t, filepath.Join(root, "new.go"), "package q\n") }, "v0.2.0", "new.go"},
		{"a replace directive", func(t *testing.T, root string) {
			name := filepath.Join(root, "engine", "go.mod")
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			write(t, name, string(data)+"\nreplace example.org/q => ../\n")
		}, "v0.2.0", "engine/go.mod has a replace directive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := repository(t)
			if tt.change != nil {
				tt.change(t, root)
			}
			before, err := git(root, "rev-parse", "HEAD")
			require.NoError(t, err)
			_, err = release(root, tt.version, proxy(t.TempDir()))
			require.ErrorContains(t, err, tt.want)
			after, err := git(root, "rev-parse", "HEAD")
			require.NoError(t, err)
			assert.Equal(t, before, after)
		})
	}
}

// A module that is not tidy is refused, because its tag would be what others fetch.
func TestReleaseOfWhatIsNotTidy(t *testing.T) {
	root, p := repository(t), proxy(t.TempDir())
	onlyFrom(t, p)
	name := filepath.Join(root, "engine", "go.mod")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	write(t, name, strings.Replace(string(data), "v0.0.1", "v0.0.1 // indirect", 1))
	_, err = git(root, "commit", "--quiet", "--all", "--message", "change")
	require.NoError(t, err)
	write(t, filepath.Join(root, "engine", "go.sum"), "example.com/unused v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	_, err = git(root, "add", ".")
	require.NoError(t, err)
	_, err = git(root, "commit", "--quiet", "--message", "change")
	require.NoError(t, err)
	_, err = release(root, "v0.1.0", p)
	require.ErrorContains(t, err, "engine/go.mod or go.sum is not tidy")
}

// Tidying against the tree keeps what is said of released versions.
func TestTidyTree(t *testing.T) {
	root, p := repository(t), proxy(t.TempDir())
	onlyFrom(t, p)
	_, err := release(root, "v0.1.0", p)
	require.NoError(t, err)
	require.NoError(t, tidyTree(root))
	status, err := git(root, "status", "--porcelain")
	require.NoError(t, err)
	assert.Empty(t, status)
	write(t, filepath.Join(root, "program", "main.go"), "package main\n\nimport \"example.org/q\"\n\nfunc main() { println(q.Version) }\n")
	require.NoError(t, tidyTree(root))
	got, err := os.ReadFile(filepath.Join(root, "program", "go.mod"))
	require.NoError(t, err)
	assert.NotContains(t, string(got), "engine", "it is not needed any more")
	sums, err := os.ReadFile(filepath.Join(root, "program", "go.sum"))
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(string(sums), "example.org/q v0.1.0"), string(sums))
}
