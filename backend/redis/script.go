package redis

import (
	"crypto/sha1" //nolint:gosec // it is how the server names scripts
	"embed"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"
)

//go:embed lua
var files embed.FS

// script is one that the server runs as one step.
type script struct {
	name   string
	source string
	sha    string
	writes bool // its outcome is not known when the answer is lost
}

// looks are the scripts that only tell something. Most of them write down, too, what has happened by itself: whether they have does not
// matter to who asks.
var looks = []string{"events", "flow_stats", "history", "inspect", "list", "result", "stats", "stream", "sweep", "workers"}

// scripts are all scripts, by name.
var scripts = assemble()

// assemble puts the library before each script, behind its first line, which tells the server what the script may do.
func assemble() map[string]*script {
	read := func(name string) string {
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		return string(data)
	}
	names := func(pattern string) []string {
		found, err := fs.Glob(files, pattern)
		if err != nil {
			panic(err)
		}
		return found
	}
	var library strings.Builder
	for _, name := range names("lua/lib/*.lua") { // sorted
		library.WriteString(read(name))
	}
	all := make(map[string]*script)
	for _, file := range names("lua/*.lua") {
		first, rest, _ := strings.Cut(read(file), "\n")
		s := &script{
			name: strings.TrimSuffix(strings.TrimPrefix(file, "lua/"), ".lua"),
			// A function of its own: a function of Lua has at most 200 local variables, and the library has nearly as many.
			source: first + "\n" + library.String() + "return (function()\n" + rest + "\nend)()\n",
		}
		s.writes = !slices.Contains(looks, s.name)
		sum := sha1.Sum([]byte(s.source)) //nolint:gosec // as above
		s.sha = hex.EncodeToString(sum[:])
		all[s.name] = s
	}
	return all
}
