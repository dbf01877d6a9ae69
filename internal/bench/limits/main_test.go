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
	require.NoError(t, run(t.Context(), []string{"-quick", "-engines", "memory,sqlite,postgres"}, &out, io.Discard))
	assert.Regexp(t, `(?m)^\| memory \| \d+ \| × \d+\.\d\d \| × \d+\.\d\d \| × \d+\.\d\d \| \d+\.\d\d ms \|`, out.String())
	assert.Regexp(t, `(?m)^\| sqlite \|`, out.String())
	assert.Regexp(t, `(?m)^\| postgres \|`, out.String())
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-engines", "nosuch"}, {"-n", "0"}, {"x"}, {"-no"}} {
		assert.Error(t, run(t.Context(), args, io.Discard, io.Discard), "%q", args)
	}
}
