package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuick(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-quick", "-engines", "memory,memory*3"}, &out, io.Discard))
	assert.Regexp(t, `(?m)^\| memory \| \d+ \| × 1\.00 \| \d+ \| × 1\.00 \|$`, out.String())
	assert.Regexp(t, `(?m)^\| memory\*3 \| \d+ \| × \d+\.\d\d \| \d+ \| × \d+\.\d\d \|$`, out.String())
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-engines", "nosuch"}, {"-engines", "memory*0"}, {"-engines", "memory*many"}, {"-n", "0"}, {"x"}, {"-no"}} {
		assert.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%q", args)
	}
}
