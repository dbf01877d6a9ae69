package omniq_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

func TestPage(t *testing.T) {
	backend := memory.New()
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	call := omniq.ReferNoArgs[omniq.Void]("call")
	for range 5 {
		_, err := call.Enqueue(t.Context(), client)
		require.NoError(t, err)
	}

	request := omniq.ListRequest{Status: omniq.StatusPending, Newest: true, Max: 2}
	var sizes []int
	for {
		page, next, err := client.Page(t.Context(), request)
		require.NoError(t, err)
		sizes = append(sizes, len(page))
		if request.After = next; next == "" {
			break
		}
	}
	assert.Equal(t, []int{2, 2, 1}, sizes)

	_, _, err = client.Page(t.Context(), omniq.ListRequest{Status: omniq.StatusPending})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, _, err = client.Page(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Max: 1, After: "nonsense"})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, _, err = (*omniq.Client)(nil).Page(t.Context(), request)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.NoError(t, backend.Close())
	_, _, err = client.Page(t.Context(), request)
	require.ErrorIs(t, err, omniq.ErrClosed)
}
