package omniq_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// vector is a case of testdata/wire, taken from msgspec.
type vector struct {
	Name, Type string
	JSON       *string
	Hex        *string
	Canonical  string
	Why        string
}

func (v vector) data(t *testing.T) []byte {
	if v.Hex != nil {
		b, err := hex.DecodeString(*v.Hex)
		require.NoError(t, err)
		return b
	}
	return []byte(*v.JSON)
}

// envelope is what the three models have in common.
type envelope interface {
	json.Marshaler
	json.Unmarshaler
	AppendJSON(dst []byte) ([]byte, error)
}

func (v vector) envelope(t *testing.T) envelope {
	switch v.Type {
	case "Task":
		return new(omniq.RawTask)
	case "TaskResult":
		return new(omniq.RawResult)
	case "TaskEvent":
		return new(omniq.TaskEvent)
	}
	require.Fail(t, "unknown type", v.Type)
	return nil
}

func vectors(t *testing.T, file string) []vector {
	b, err := os.ReadFile("testdata/wire/" + file)
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(b, &all))
	require.NotEmpty(t, all)
	return all
}

func TestWireCanonical(t *testing.T) {
	for _, v := range vectors(t, "canonical.json") {
		t.Run(v.Name, func(t *testing.T) {
			e := v.envelope(t)
			require.NoError(t, e.UnmarshalJSON(v.data(t)))
			got, err := e.AppendJSON([]byte("before"))
			require.NoError(t, err)
			assert.Equal(t, "before"+*v.JSON, string(got))
			got, err = json.Marshal(e)
			require.NoError(t, err)
			assert.JSONEq(t, *v.JSON, string(got), "encoding/json reaches MarshalJSON")
		})
	}
}

func TestWireAccepted(t *testing.T) {
	for _, v := range vectors(t, "accepted.json") {
		t.Run(v.Name, func(t *testing.T) {
			e := v.envelope(t)
			require.NoError(t, e.UnmarshalJSON(v.data(t)))
			got, err := e.MarshalJSON()
			require.NoError(t, err)
			assert.Equal(t, v.Canonical, string(got))
		})
	}
}

func TestWireRejected(t *testing.T) {
	for _, v := range vectors(t, "rejected.json") {
		t.Run(v.Name, func(t *testing.T) {
			err := v.envelope(t).UnmarshalJSON(v.data(t))
			require.Error(t, err, v.Why)
			assert.Contains(t, err.Error(), "omniq: ")
		})
	}
}
