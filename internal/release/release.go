package main

import (
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
)

// release commits and tags a version of all modules, and adds them to a proxy. It returns the tags. With an error, what
// was committed and tagged stays, to be looked at.
func release(root, version string, p proxy) (tags []string, err error) {
	all, err := modules(root)
	if err != nil {
		return nil, err
	}
	if err := mayRelease(root, version); err != nil {
		return nil, err
	}
	for _, m := range all {
		if err := m.require(root, version); err != nil {
			return nil, err
		}
	}
	if err := replaceInWork(root, all, version); err != nil {
		return nil, err
	}
	if err := commit(root, "release: the modules require "+version+" of each other"); err != nil {
		return nil, err
	}
	for _, m := range all {
		if err := tidy(root, m, p); err != nil {
			return nil, err
		}
		if err := commit(root, fmt.Sprintf("release: what %s needs of %s", m.dir, version)); err != nil {
			return nil, err
		}
		if !m.released() {
			continue
		}
		tag := m.tag(version)
		if _, err := git(root, "tag", "-a", "-m", tag, tag); err != nil {
			return nil, err
		}
		tags = append(tags, tag)
		if err := p.addTag(root, m, version); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// mayRelease refuses a version that is none, or not after the last one, and a tree with changes.
func mayRelease(root, version string) error {
	if semver.Canonical(version) != version {
		return fmt.Errorf("%q is no version, want one such as v0.2.0 or v0.2.0-rc.1", version)
	}
	if major := semver.Major(version); major != "v0" && major != "v1" {
		return fmt.Errorf("%s needs module paths that end in /%s", version, major)
	}
	changes, err := git(root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("commit or remove these first:\n%s", changes)
	}
	list, err := git(root, "tag", "--list", "v*")
	if err != nil {
		return err
	}
	for tag := range strings.FieldsSeq(list) {
		if semver.Compare(version, tag) <= 0 {
			return fmt.Errorf("%s is not after %s, which is tagged", version, tag)
		}
	}
	return nil
}

// commit commits what has changed, if anything has.
func commit(root, message string) error {
	changes, err := git(root, "status", "--porcelain")
	if err != nil || changes == "" {
		return err
	}
	if _, err := git(root, "add", "--all"); err != nil {
		return err
	}
	_, err = git(root, "commit", "--quiet", "--message", message)
	return err
}
