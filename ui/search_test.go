package ui

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func TestParseSearch(t *testing.T) {
	flow := uuid.MustParse("01890000-0000-7000-8000-000000000001")
	for typed, want := range map[string]search{
		"":                       {},
		"  a  b ":                {Text: "a b"},
		"name:mail.send":         {Name: "mail.send"},
		`name:"a b" x`:           {Name: "a b", Text: "x"},
		`name:"a \"b\\"`:         {Name: `a "b\`},
		`"name:x"`:               {Text: "name:x"},
		`"a":"b"`:                {Text: `"a":"b"`},
		`{"a":"b c"}`:            {Text: `{"a":"b c"}`},
		"https://example.org":    {Text: "https://example.org"},
		"meta.a.b:c:d":           {Meta: [][2]string{{"a.b", "c:d"}}},
		"meta.:c":                {Text: "meta.:c"},
		"queue:q lane:l":         {Queue: "q", Lane: "l"},
		"worker:w error:e":       {Worker: "w", Error: "e"},
		"flow:" + flow.String():  {Flow: flow},
		"status:failed,EXPIRED":  {Statuses: []omniq.Status{omniq.StatusFailure, omniq.StatusExpired}},
		"status:RUNNING,running": {Statuses: []omniq.Status{omniq.StatusRunning}},
		`name:"a`:                {Name: `"a`},
		"Name:x":                 {Text: "Name:x"},
	} {
		s, err := parseSearch(typed)
		require.NoError(t, err, typed)
		assert.Equal(t, want, s, typed)
	}
	for _, typed := range []string{"name:", `name:""`, "name:a name:b", "status:gone", "flow:1", "lane:l", "flow:00000000-0000-0000-0000-000000000000", "meta.a:"} {
		_, err := parseSearch(typed)
		assert.Equal(t, 400, statusOf(err), typed)
	}
}

func FuzzTerms(f *testing.F) {
	f.Add("a b", `"`)
	f.Add(`\`, "x y\\\"")
	f.Fuzz(func(t *testing.T, name, worker string) {
		if name == "" || worker == "" {
			t.Skip()
		}
		s, err := parseSearch(terms("name", name, "worker", worker))
		require.NoError(t, err)
		assert.Equal(t, search{Name: name, Worker: worker}, s)
	})
}

func TestWithoutKey(t *testing.T) {
	assert.Equal(t, `name:"a b" x "status:y z"`, withoutKey(`status:FAILURE name:"a b" x "status:y z"`, "status"))
	assert.Equal(t, `name:"a b"`, withoutText(`x "y z" name:"a b"`))
}

func TestMetaText(t *testing.T) {
	assert.Equal(t, `"a":"b-1"`, metaText([2]string{"a", "b-1"}))
	for _, value := range []string{"a b", `"`, "<", "é", "a/b", "\n"} {
		assert.Empty(t, metaText([2]string{"k", value}), value)
	}
}
