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
	require.NoError(t, run(t.Context(), []string{"-quick", "-engines", "memory,sqlite"}, &out, io.Discard))
	for _, row := range []string{
		`memory \| 1 \|`, `memory \| 100 \|`, `sqlite \| 1 \|`, `sqlite \| 100 \|`,
	} {
		assert.Regexp(t, `(?m)^\| `+row+` \d+\.\d \| \d+\.\d \| × \d+\.\d\d \|$`, out.String())
	}
	assert.Regexp(t, `(?m)^\| memory \| \d+ \| \d+ \| \d+ \| × \d+\.\d\d \|$`, out.String())
	assert.Regexp(t, `(?m)^\| sqlite \| \d+ \| \d+ \| \d+ \| × \d+\.\d\d \|$`, out.String())
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-engines", "nosuch"}, {"-most", "9999"}, {"-peak", "0"}, {"-rounds", "0"}, {"x"}, {"-no"}} {
		assert.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%q", args)
	}
}
