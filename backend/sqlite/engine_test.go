package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// A URL tells its tables and what they lack, and nothing is made or changed.
func TestEngineSchema(t *testing.T) {
	schema := func(path string) (omniq.Schema, error) {
		config := omniq.DefaultConfig()
		config.BackendURL = "sqlite:" + path
		return config.Schema(t.Context(), sqlite.Engine)
	}
	names, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	newest := len(names)

	path := place(t)
	s, err := schema(path)
	require.NoError(t, err)
	assert.Equal(t, 0, s.Version)
	assert.Equal(t, newest, s.Newest)
	assert.NoFileExists(t, path)

	script, err := os.ReadFile("migrations/0001.sql")
	require.NoError(t, err)
	for name, before := range map[string]string{
		"nothing":        "",
		"version 1":      string(script) + "; PRAGMA application_id = 1332571729; PRAGMA user_version = 1",
		"another's file": "CREATE TABLE orders (id INTEGER); PRAGMA user_version = 7",
	} {
		t.Run(name, func(t *testing.T) {
			path := place(t)
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, db.Close()) })
			_, err = db.ExecContext(t.Context(), before)
			require.NoError(t, err)
			s, err := schema(path)
			require.NoError(t, err)
			again, err := schema(path)
			require.NoError(t, err)
			assert.Equal(t, s, again, "it changes nothing")
			_, err = db.ExecContext(t.Context(), s.SQL)
			require.NoError(t, err)
			s, err = schema(path)
			require.NoError(t, err)
			assert.Equal(t, omniq.Schema{Version: newest, Newest: newest}, s)
			b := open(t, path)
			enqueue(t, b, newTasks(1)...)
			lease(t, b, time.Minute)
		})
	}

	_, err = schema(filepath.Join(t.TempDir(), "nowhere", "q.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	_, err = schema(text)
	require.ErrorIs(t, err, sqlite.ErrCorrupt)
	_, err = schema("")
	require.ErrorIs(t, err, omniq.ErrInvalid)
}
