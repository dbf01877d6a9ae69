package redis

import (
	"crypto/sha1" // it is how the server names scripts
	"embed"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed lua
var files embed.FS

// script is one that the server runs as one step.
type script struct {
	name   string
	source string
	sha    string
	writes bool // its outcome is not known when the answer is lost
	waits  bool // for replicas, if that was asked for
}

// looks are the scripts that only tell something. Most of them write down, too, what has happened by itself: whether they have does not
// matter to who asks.
var looks = []string{"events", "flow_stats", "history", "inspect", "list", "result", "revoked", "stats", "stream", "sweep", "workers"}

// handing are the scripts that are about leases alone. To lose what they write is to hand a task out once more. That they do not fail
// where replicas are missing matters: a lease whose call has failed is nobody's, and runs out as if its worker had died.
var handing = []string{"beat", "extend", "lease", "start"}

// scripts are all scripts, by name. They are made when the first backend is opened: a program may bring the engine and open another one.
var scripts = sync.OnceValue(assemble)

// core are the parts of the library that a script needs to do something with tasks, in their order.
var core = []string{"base", "task", "queue", "event", "key", "link", "revive", "flush"}

// parts are the files of the library that the second line of a script names: their functions are made anew for each run.
func parts(names string) (files []string) {
	for name := range strings.FieldsSeq(names) {
		if name == "core" {
			files = append(files, core...)
		} else {
			files = append(files, name)
		}
	}
	return files
}

// assemble puts the library before each script, behind its first line, which tells the server what the script may do.
func assemble() map[string]*script {
	read := func(name string) string {
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		return string(data)
	}
	names, err := fs.Glob(files, "lua/*.lua")
	if err != nil {
		panic(err)
	}
	all := make(map[string]*script)
	for _, file := range names {
		first, rest, _ := strings.Cut(read(file), "\n")
		second, _, _ := strings.Cut(rest, "\n")
		needs, ok := strings.CutPrefix(second, "-- library: ")
		if !ok {
			panic("redis: " + file + " does not say what it needs of the library")
		}
		var library strings.Builder
		for _, part := range parts(needs) {
			library.WriteString(read("lua/lib/" + part + ".lua"))
		}
		s := &script{
			name: strings.TrimSuffix(strings.TrimPrefix(file, "lua/"), ".lua"),
			// A function of its own: a function of Lua has at most 200 local variables, and the library has nearly as many.
			source: first + "\n" + library.String() + "return (function()\n" + rest + "\nend)()\n",
		}
		s.writes = !slices.Contains(looks, s.name)
		s.waits = s.writes && !slices.Contains(handing, s.name)
		sum := sha1.Sum([]byte(s.source))
		s.sha = hex.EncodeToString(sum[:])
		all[s.name] = s
	}
	return all
}
