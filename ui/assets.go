package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// asset is a file that pages need.
type asset struct {
	data []byte
	kind string
	tag  string
}

// assets are found by their names. The pages name them with a version: what is cached is of this release. What kind they are does not
// depend on the tables of the machine: a browser would run no script that these call something else.
var assets, version = readAssets([][2]string{
	{"style.css", "text/css; charset=utf-8"}, {"live.js", "text/javascript; charset=utf-8"}, {"icon.svg", "image/svg+xml"},
})

func readAssets(kinds [][2]string) (map[string]asset, string) {
	all, sum := make(map[string]asset), sha256.New()
	for _, file := range kinds {
		data, err := embedded.ReadFile("assets/" + file[0])
		if err != nil {
			panic(err)
		}
		_, _ = sum.Write(data)
		all[file[0]] = asset{data: data, kind: file[1]}
	}
	version := hex.EncodeToString(sum.Sum(nil)[:6])
	for name, a := range all {
		a.tag = `"` + version + `"`
		all[name] = a
	}
	return all, version
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", "private, max-age=86400")
	head.Set("ETag", a.tag)
	head.Set("Content-Type", a.kind)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.data)
}
