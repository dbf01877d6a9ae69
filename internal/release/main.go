// Release tags a version of all modules of this repository, so that each can be fetched by itself.
//
//	go run ./internal/release v0.2.0       # commits and tags; prints what to push
//	go run ./internal/release -n v0.2.0    # does the same in a clone, and shows what it did there
//	go run ./internal/release -tidy        # go mod tidy for every module, against this tree instead of a release
//
// A nested module requires the released version of the modules that it needs, and go.work lets this tree stand for that
// version. A release raises these requirements and tags the modules in the order in which they need each other: what a
// go.sum says of a module can be known only when that module is tagged. With -proxy the modules are also written as a
// module proxy of files, which GOPROXY=file://DIR reads; before they are pushed, a stranger's build can be tried with it.
//
// Programs, like cmd/omniq and those of examples, are modules, too, and are installed by their tags: go install
// github.com/omniq-go/omniq/cmd/omniq@latest. That works because no go.mod has a replace directive, with which go install refuses a
// module, and because each requires the released version of the others. Their tags, like cmd/omniq/v0.2.0, are to be pushed with the
// rest.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "release:", err)
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	dry := flags.Bool("n", false, "work in a clone that is removed, and show what was done")
	onlyTidy := flags.Bool("tidy", false, "tidy every module against this tree; nothing is tagged")
	proxyDir := flags.String("proxy", "", "also write the modules into this `directory`, as a module proxy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := git(".", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	dir = strings.TrimSpace(dir)
	if *onlyTidy {
		if flags.NArg() > 0 {
			return fmt.Errorf("-tidy takes no version, and got %q", flags.Args())
		}
		return tidyTree(dir)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("got %d arguments, want one version, such as v0.2.0", flags.NArg())
	}
	if *dry {
		clone, err := os.MkdirTemp("", "release-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(clone) }()
		if _, err := git(dir, "clone", "--quiet", "--no-hardlinks", dir, clone); err != nil {
			return err
		}
		dir = clone
	}
	if *proxyDir == "" {
		temporary, err := os.MkdirTemp("", "proxy-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temporary) }()
		*proxyDir = temporary
	}
	absolute, err := filepath.Abs(*proxyDir)
	if err != nil {
		return err
	}
	before, err := git(dir, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	tags, err := release(dir, flags.Arg(0), proxy(absolute))
	if err != nil {
		return err
	}
	log, err := git(dir, "log", "--oneline", "--decorate", "--stat", strings.TrimSpace(before)+"..HEAD")
	if err != nil {
		return err
	}
	fmt.Print(log)
	if *dry {
		fmt.Println("Nothing of this was done here. Without -n it is.")
		return nil
	}
	fmt.Println("To publish it:\n\tgit push --atomic origin HEAD", strings.Join(tags, " "))
	return nil
}
