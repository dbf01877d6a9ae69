package omniq

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// A backend's URL may have a password, in more forms than one: of a user, among the options, as a keyword's value. What is
// shown of it anywhere is its scheme, and the rest only where none of these forms can be in it.

var schemePattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// schemeOf is what stands before the colon of a backend's URL, if that is a scheme.
func schemeOf(url string) (scheme string, ok bool) {
	scheme, _, ok = strings.Cut(url, ":")
	if !ok || !schemePattern.MatchString(scheme) {
		return "", false
	}
	return scheme, true
}

// hidden stands for what is not shown.
const hidden = "..."

// redacted is a backend's URL without what may be a password.
func redacted(url string) string {
	scheme, ok := schemeOf(url)
	switch {
	case !ok:
		return hidden
	case strings.ContainsAny(url, "@?=&;%"):
		return scheme + ":" + hidden
	}
	return url
}

// String is the configuration for people to read, without what may be a password in BackendURL.
func (c Config) String() string {
	type plain Config
	shown := plain(c)
	shown.BackendURL = redacted(c.BackendURL)
	return fmt.Sprintf("%+v", shown)
}

// GoString returns the same as String, for the verb %#v: no password is printed.
func (c Config) GoString() string { return c.String() }

// LogValue returns the same as String, for package slog: no password is logged.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
