package cron_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/cron"
)

func parse(t testing.TB, text string) cron.Expression {
	t.Helper()
	e, err := cron.Parse(text)
	require.NoError(t, err)
	return e
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

// The ticks of testdata/cron-ticks.json, in (From, To], were made by another implementation of the same rule.
func TestVectors(t *testing.T) {
	content, err := os.ReadFile("testdata/cron-ticks.json")
	require.NoError(t, err)
	var vectors []struct {
		Expr, Zone string
		From, To   time.Time
		Ticks      []time.Time
	}
	require.NoError(t, json.Unmarshal(content, &vectors))
	require.Len(t, vectors, 700)
	ticks := 0
	for _, v := range vectors {
		got := slices.Collect(parse(t, v.Expr).Ticks(v.From, v.To, location(t, v.Zone)))
		for i := range got {
			got[i] = got[i].UTC()
		}
		want := slices.Clone(v.Ticks)
		if len(want) == 0 {
			want = nil
		}
		assert.Equal(t, want, got, "%s in %s from %s", v.Expr, v.Zone, v.From)
		ticks += len(got)
	}
	assert.Equal(t, 2941, ticks)
}
