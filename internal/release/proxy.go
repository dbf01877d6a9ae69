package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	modpath "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// proxy is a directory with modules, as GOPROXY=file:// reads them. See https://go.dev/ref/mod#goproxy-protocol.
type proxy string

// addTag adds a version of a module as its tag has it.
func (p proxy) addTag(root string, m *module, version string) error {
	return p.add(root, m, version, func(f *os.File, v modpath.Version) error {
		subdir := m.dir
		if subdir == "." {
			subdir = ""
		}
		return zip.CreateFromVCS(f, v, root, m.tag(version), subdir)
	})
}

// addTree adds a version of a module as it stands in the tree.
func (p proxy) addTree(root string, m *module, version string) error {
	return p.add(root, m, version, func(f *os.File, v modpath.Version) error {
		return zip.CreateFromDir(f, v, filepath.Dir(m.file(root, "go.mod")))
	})
}

func (p proxy) add(root string, m *module, version string, write func(*os.File, modpath.Version) error) (err error) {
	escaped, err := modpath.EscapePath(m.path)
	if err != nil {
		return err
	}
	dir := filepath.Join(string(p), filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	goMod, err := os.ReadFile(m.file(root, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Now().UTC()})
	if err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(dir, "list"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for name, data := range map[string][]byte{
		version + ".mod": goMod, version + ".info": info, "list": append(list, version+"\n"...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	return write(f, modpath.Version{Path: m.path, Version: version})
}
