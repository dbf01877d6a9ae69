package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutput(t *testing.T) {
	out, err := exec.Command("go", "run", ".").Output()
	require.NoError(t, err)
	assert.Equal(t, "Hello, Ada!\n", string(out))
}

func TestReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		assert.Fail(t, "README.md does not show examples/firstprogram/main.go as it is")
	}
}
