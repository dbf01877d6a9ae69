package main

import (
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// walk yields the regular files at and below the paths, and the paths and directories that cannot be read with their
// errors.
func walk(paths []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range paths {
			err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
				switch {
				case err != nil:
					if !yield(file, err) {
						return filepath.SkipAll
					}
					return nil
				case d.IsDir() && d.Name() == ".git" && file != path:
					return filepath.SkipDir
				case !regular(file, d, file == path):
					return nil
				case !yield(file, nil):
					return filepath.SkipAll
				}
				return nil
			})
			if err != nil {
				return
			}
		}
	}
}

// regular reports whether file is a regular file. A link that the user has named is followed.
func regular(file string, d fs.DirEntry, named bool) bool {
	if named && d.Type()&fs.ModeSymlink != 0 {
		info, err := os.Stat(file)
		return err == nil && info.Mode().IsRegular()
	}
	return d.Type().IsRegular()
}

// checkName refuses a name that JSON cannot hold.
func checkName(file string) error {
	if !utf8.ValidString(file) {
		return fmt.Errorf("the name %q is not UTF-8", file)
	}
	return nil
}
