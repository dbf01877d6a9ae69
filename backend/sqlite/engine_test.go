package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// A URL opens the file that it means, or says what to write instead.
func TestEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	require.NoError(t, err)
	for _, c := range []struct{ url, file, says string }{
		{url: "sqlite:q1.db", file: "q1.db"},
		{url: "sqlite:./q2.db", file: "q2.db"},
		{url: "sqlite:" + dir + "/q3.db", file: "q3.db"},
		{url: "sqlite://" + dir + "/q4.db", file: "q4.db"},
		{url: "sqlite:a b%20?c.db", file: "a b%20?c.db"},
		{url: "sqlite:", says: "want sqlite: and the path of a file"},
		{url: "sqlite://", says: "sqlite:/"},
		{url: "sqlite://q.db", says: "want sqlite:q.db for a path from the current directory, or sqlite:///q.db for an absolute one"},
		{url: "sqlite://./q.db", says: "want sqlite:./q.db"},
		{url: "sqlite::memory:", says: "backend/memory"},
		{url: "sqlite:file:q.db", says: "no URI"},
		{url: "sqlite:q.db?_pragma=busy_timeout(5000)", says: "without parameters"},
	} {
		t.Run(c.url, func(t *testing.T) {
			config := omniq.DefaultConfig()
			config.BackendURL = c.url
			b, err := config.Open(t.Context(), sqlite.Engine)
			if c.says != "" {
				require.ErrorIs(t, err, omniq.ErrInvalid)
				assert.ErrorContains(t, err, c.says)
				assert.Nil(t, b)
				return
			}
			require.NoError(t, err)
			assert.FileExists(t, filepath.Join(dir, c.file))
			require.NoError(t, b.Close())
		})
	}
}
