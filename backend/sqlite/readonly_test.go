//go:build linux

package sqlite_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/sqlite"
)

// A file that cannot be written is refused, and named.
func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a disk cannot be made here (%v): run this test as root", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0)) })
	path := filepath.Join(dir, "queue.db")
	b, err := sqlite.Open(path)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	b, err = sqlite.Open(path)
	require.Error(t, err)
	assert.Nil(t, b)
	assert.ErrorContains(t, err, path)
	t.Log(err)
	_, err = sqlite.Open(filepath.Join(dir, "new.db"))
	require.Error(t, err)
	assert.ErrorContains(t, err, "new.db")
	t.Log(err)
}
