package sqlite_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/sqlite"
)

var opens = flag.Int("opens", 3, "in how many rounds TestOpenByProcesses lets processes open a new file")

const childVariable = "OMNIQ_SQLITE_OPEN"

// openChild is the whole of a process that TestOpenByProcesses has started: it opens the file when it is told to, and uses
// it.
func openChild() {
	path := os.Getenv(childVariable)
	if path == "" {
		return
	}
	err := func() error {
		fmt.Println("ready")
		if _, err := io.ReadAll(os.Stdin); err != nil {
			return err
		}
		b, err := sqlite.Open(path)
		if err != nil {
			return err
		}
		return b.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Processes that open a new file at the same time all can. More often: go test -run TestOpenByProcesses -opens 2000
func TestOpenByProcesses(t *testing.T) {
	for _, processes := range []int{2, 4, 8} {
		t.Run(fmt.Sprintf("%d processes", processes), func(t *testing.T) {
			for range *opens {
				openTogether(t, place(t), processes)
			}
		})
	}
}

func openTogether(t *testing.T, path string, processes int) {
	t.Helper()
	type child struct {
		*exec.Cmd
		stdin  io.Closer
		stderr *bytes.Buffer
	}
	children := make([]child, processes)
	for i := range children {
		c := child{exec.Command(os.Args[0]), nil, new(bytes.Buffer)}
		c.Env = append(os.Environ(), childVariable+"="+path)
		c.Stderr = c.stderr
		stdin, err := c.StdinPipe()
		require.NoError(t, err)
		c.stdin = stdin
		stdout, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = stdout.Read(make([]byte, len("ready\n")))
		require.NoError(t, err)
		children[i] = c
	}
	for _, c := range children {
		require.NoError(t, c.stdin.Close()) // now
	}
	for _, c := range children {
		assert.NoError(t, c.Wait(), c.stderr)
	}
	checkIntegrity(t, path)
}
