package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
)

// asset is a file that pages need.
type asset struct {
	data []byte
	kind string
	tag  string
}

// assets are found by their names. The pages name them with a version: what is cached is of this release.
var assets, version = readAssets("style.css", "live.js", "icon.svg")

func readAssets(names ...string) (map[string]asset, string) {
	all, sum := make(map[string]asset), sha256.New()
	for _, name := range names {
		data, err := embedded.ReadFile("assets/" + name)
		if err != nil {
			panic(err)
		}
		_, _ = sum.Write(data)
		all[name] = asset{data: data, kind: mime.TypeByExtension(path.Ext(name))}
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
