package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tidy brings a module's go.mod and go.sum up to date with a proxy, which has the modules of the repository that it
// requires. It refuses any change but to what is said of these: the module was not tidy before.
func tidy(root string, m *module, p proxy) error {
	before, err := foreign(root, m)
	if err != nil {
		return err
	}
	if err := goModTidy(root, m, p); err != nil {
		return err
	}
	after, err := foreign(root, m)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("%s/go.mod or go.sum is not tidy. Run: go run ./internal/release -tidy", m.dir)
	}
	return nil
}

// tidyTree tidies all modules, with those of the repository as the tree has them. What go.sum files say of these is of
// released versions, and stays as it is.
func tidyTree(root string) error {
	all, err := modules(root)
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp("", "proxy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	for _, m := range all {
		f, err := parse(m.file(root, "go.mod"))
		if err != nil {
			return err
		}
		for _, r := range f.Require {
			for _, other := range all {
				if other.path == r.Mod.Path {
					if err := proxy(temporary).addTree(root, other, r.Mod.Version); err != nil {
						return err
					}
				}
			}
		}
		if err := m.tidyAgainst(root, all, proxy(temporary)); err != nil {
			return err
		}
	}
	return nil
}

// tidyAgainst tidies a module with the tree's others in a proxy.
func (m *module) tidyAgainst(root string, all []*module, p proxy) error {
	name := m.file(root, "go.sum")
	sums, err := os.ReadFile(name)
	switch {
	case os.IsNotExist(err):
	case err != nil:
		return err
	default:
		if err := os.WriteFile(name, withOwn(sums, nil, all), 0o644); err != nil {
			return err
		}
	}
	if err := goModTidy(root, m, p); err != nil {
		return err
	}
	tidied, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	tidied = withOwn(tidied, sums, all)
	if len(tidied) == 0 {
		return os.RemoveAll(name)
	}
	return os.WriteFile(name, tidied, 0o644)
}

// withOwn returns the lines of sums, but of the repository's modules those of own.
func withOwn(sums, own []byte, all []*module) []byte {
	pathOf := func(line []byte) []byte {
		path, _, _ := bytes.Cut(line, []byte(" "))
		return path
	}
	isOwn := func(line []byte) bool {
		return slices.ContainsFunc(all, func(m *module) bool { return m.path == string(pathOf(line)) })
	}
	var lines [][]byte
	for line := range bytes.Lines(sums) {
		if !isOwn(line) {
			lines = append(lines, line)
		}
	}
	for line := range bytes.Lines(own) {
		if isOwn(line) {
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, func(a, b []byte) int { return bytes.Compare(pathOf(a), pathOf(b)) })
	return bytes.Join(lines, nil)
}

// foreign returns the lines of a module's go.mod and go.sum that are not about modules of the repository.
func foreign(root string, m *module) ([]string, error) {
	var lines []string
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(m.file(root, name))
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			if !slices.ContainsFunc(m.requires, func(path string) bool { return strings.HasPrefix(strings.TrimSpace(line), path+" ") }) {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

// goModTidy runs go mod tidy in a module, as if the proxy's modules were published.
func goModTidy(root string, m *module, p proxy) error {
	usual, err := output(exec.Command("go", "env", "GOPROXY"))
	if err != nil {
		return err
	}
	cache, err := os.MkdirTemp("", "modules-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	known, err := output(exec.Command("go", "env", "GOMODCACHE"))
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "mod", "tidy")
	cmd.Dir = filepath.Dir(m.file(root, "go.mod"))
	downloads := "file://" + filepath.ToSlash(filepath.Join(strings.TrimSpace(known), "cache", "download"))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOMODCACHE="+cache, "GONOSUMDB=*",
		"GOPROXY=file://"+filepath.ToSlash(string(p))+","+downloads+","+strings.TrimSpace(usual))
	_, err = output(cmd)
	return err
}
