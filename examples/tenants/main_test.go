package main

import (
	"bytes"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/examples/internal/server"
)

// With lanes the small tenants are done long before the greedy one; without, after it has had its turn.
func TestTenants(t *testing.T) {
	for _, backend := range []string{"memory:", "sqlite:" + filepath.Join(t.TempDir(), "q.db"), server.URL(t)} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), []string{"-backend", backend, "-greedy", "300", "-small", "10", "-images", "3"}, &out, io.Discard))
		lines := regexp.MustCompile(`(?m)^(.*): small .* to ([0-9.]+) s, the greedy one after ([0-9.]+) s$`).FindAllStringSubmatch(out.String(), -1)
		require.Len(t, lines, 2, out.String())
		assert.Equal(t, []string{"without lanes", "with a lane for each tenant"}, []string{lines[0][1], lines[1][1]})
		small, err := strconv.ParseFloat(lines[1][2], 64)
		require.NoError(t, err)
		greedy, err := strconv.ParseFloat(lines[1][3], 64)
		require.NoError(t, err)
		assert.Less(t, small, greedy, out.String())
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-greedy", "0"}, {"x"}, {"-no"}, {"-backend", "nothing:"}} {
		assert.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%q", args)
	}
}
