package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// module is one of the repository.
type module struct {
	dir      string // below the repository's root, with slashes; "." for the root module
	path     string
	requires []string // paths of others of the repository
}

// released reports whether strangers can fetch it. What is below internal serves the repository alone.
func (m *module) released() bool { return !strings.HasPrefix(m.dir, "internal/") }

// tag is the name of a version's tag.
func (m *module) tag(version string) string { return path.Join(m.dir, version) }

func (m *module) file(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(m.dir), name)
}

// modules returns the repository's modules, each after those that it requires.
func modules(root string) ([]*module, error) {
	list, err := git(root, "ls-files", "--", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var all []*module
	files := make(map[*module]*modfile.File)
	for name := range strings.FieldsSeq(list) {
		m := &module{dir: path.Dir(name)}
		f, err := parse(m.file(root, "go.mod"))
		if err != nil {
			return nil, err
		}
		if m.released() && len(f.Replace) > 0 {
			return nil, fmt.Errorf("%s has a replace directive, which keeps strangers from fetching it: let go.work replace", name)
		}
		m.path = f.Module.Mod.Path
		files[m] = f
		all = append(all, m)
	}
	for m, f := range files {
		for _, r := range f.Require {
			if slices.ContainsFunc(all, func(other *module) bool { return other.path == r.Mod.Path }) {
				m.requires = append(m.requires, r.Mod.Path)
			}
		}
	}
	return inOrder(all)
}

// inOrder sorts modules so that each stands after those that it requires, and else by their directories.
func inOrder(all []*module) ([]*module, error) {
	var sorted []*module
	placed := make(map[string]bool)
	for len(sorted) < len(all) {
		n := len(sorted)
		for _, m := range all {
			if !placed[m.path] && !slices.ContainsFunc(m.requires, func(path string) bool { return !placed[path] }) {
				sorted = append(sorted, m)
			}
		}
		if len(sorted) == n {
			return nil, errors.New("modules require each other in a circle")
		}
		for _, m := range sorted[n:] {
			placed[m.path] = true
		}
	}
	return sorted, nil
}

func parse(name string) (*modfile.File, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, data, nil)
}

// require makes the module require a version of those of the repository that it needs.
func (m *module) require(root, version string) error {
	f, err := parse(m.file(root, "go.mod"))
	if err != nil {
		return err
	}
	for _, path := range m.requires {
		if err := f.AddRequire(path, version); err != nil {
			return err
		}
	}
	f.Cleanup()
	data, err := f.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(m.file(root, "go.mod"), data, 0o644)
}

// replaceInWork lets the tree stand for a version of the released modules, in go.work.
func replaceInWork(root string, all []*module, version string) error {
	name := filepath.Join(root, "go.work")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return err
	}
	for _, r := range slices.Clone(f.Replace) {
		if err := f.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	for _, m := range all {
		if m.released() {
			if err := f.AddReplace(m.path, version, "./"+strings.TrimPrefix(m.dir, "."), ""); err != nil {
				return err
			}
		}
	}
	f.SortBlocks()
	f.Cleanup()
	return os.WriteFile(name, modfile.Format(f.Syntax), 0o644)
}

// git runs git in a directory and returns what it prints.
func git(dir string, args ...string) (string, error) {
	return output(exec.Command("git", append([]string{"-C", dir}, args...)...))
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err != nil {
		var said []byte
		if exit, ok := err.(*exec.ExitError); ok {
			said = exit.Stderr
		}
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said)
	}
	return string(out), nil
}
