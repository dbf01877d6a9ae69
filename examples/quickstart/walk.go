package main

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"unicode/utf8"
)

var (
	errKind = errors.New("neither a file nor a directory")
	errName = errors.New("the name is not UTF-8, and a task's arguments are")

	// errPassedOver marks what has no task, and is no failure.
	errPassedOver = errors.New("passed over")
)

// walk yields the regular files at and below the paths, and with an error what cannot be read. A path that is a link is
// followed; below the paths, links, whatever else is no regular file, and .git come with errPassedOver.
func walk(paths []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		more := true
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case err != nil:
				more = yield(path, err)
			case info.Mode().IsRegular():
				more = yield(path, checkName(path))
			case !info.IsDir():
				more = yield(path, errKind)
			default:
				more = walkDir(path, yield)
			}
			if !more {
				return
			}
		}
	}
}

// walkDir yields what is below a directory, and reports whether to go on.
func walkDir(dir string, yield func(string, error) bool) (more bool) {
	more = true
	root := followed(dir)
	// The error is nil: the function below returns none but those that WalkDir takes as orders.
	_ = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			more, err = yield(file, err), nil
		case d.IsDir() && d.Name() == ".git" && file != root:
			more = yield(file, errPassedOver)
			err = filepath.SkipDir
		case d.IsDir():
		case d.Type().IsRegular():
			more = yield(file, checkName(file))
		default:
			more = yield(file, errPassedOver)
		}
		if !more {
			return filepath.SkipAll
		}
		return err
	})
	return more
}

// followed is dir so that WalkDir follows it if it is a link.
func followed(dir string) string {
	if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return dir + string(filepath.Separator)
	}
	return dir
}

// checkName refuses a name that JSON cannot hold.
func checkName(file string) error {
	if !utf8.ValidString(file) {
		return errName
	}
	return nil
}
