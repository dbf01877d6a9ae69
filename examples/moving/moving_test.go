package moving_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var shown = regexp.MustCompile("(?s)\nOmniQ:\n\n```go\n(.*?)```\n")

// What a page shows as code of OmniQ stands so in the package of that page.
func TestPagesShowCodeThatCompiles(t *testing.T) {
	for _, peer := range []string{"river", "asynq", "celery"} {
		page, err := os.ReadFile("../../docs/from-" + peer + ".md")
		require.NoError(t, err)
		source, err := os.ReadFile(peer + "/" + peer + ".go")
		require.NoError(t, err)
		blocks := shown.FindAllStringSubmatch(string(page), -1)
		assert.Len(t, blocks, strings.Count(string(page), "\nOmniQ:\n"), peer)
		for _, block := range blocks {
			assert.True(t, strings.Contains(string(source), "\n"+block[1]), "examples/moving/%s does not have what from-%s.md shows:\n%s", peer, peer, block[1])
		}
	}
}
