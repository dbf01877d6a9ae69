// Package tools holds no code. Its module pins the linters that CI runs, apart from the library's own module so that
// none of them becomes a requirement of whoever imports OmniQ.
//
// Build them all with:
//
//	GOWORK=off go -C internal/tools build -o DIRECTORY/ tool
package tools
