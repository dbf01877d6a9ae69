package omniq

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxErrorText is how many bytes each text of a [TaskError] has at most that the runtime makes: it is for people to read,
// and a text that no engine can store would take the outcome with it.
const maxErrorText = 64 << 10

// validText is s with what the wire cannot hold replaced, and what is too long cut and said to be, for texts that the
// runtime does not choose. It leaves alone what it has made.
func validText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxErrorText {
		return s
	}
	const mark = "... (%d bytes cut)"
	n := maxErrorText - len(mark) - 20
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + fmt.Sprintf(mark, len(s)-n)
}
