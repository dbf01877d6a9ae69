package iso8601

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		in   string
		want time.Duration
		bad  bool
	}{
		{in: "P0D"}, {in: "PT0S"}, {in: "-P0D"},
		{in: "P1D", want: day},
		{in: "P1DT1H", want: 25 * time.Hour},
		{in: "P1DT1S", want: day + time.Second},
		{in: "pt1h2m3.5s", want: time.Hour + 2*time.Minute + 3500*time.Millisecond},
		{in: "PT1H3S", want: time.Hour + 3*time.Second},
		{in: "P1.5D", want: 36 * time.Hour},
		{in: "PT0.5M", want: 30 * time.Second},
		{in: "-PT1S", want: -time.Second},
		{in: "PT0.0000005S", want: time.Microsecond},
		{in: "PT0.00000049999999999999999999S"},
		{in: "PT0.9999999S", want: time.Second},
		{in: "P106751DT85636.854775S", want: 9223372036854775 * time.Microsecond},
		{in: "P106751DT85636.854776S", bad: true},
		{in: "P106752D", bad: true},
		{in: "P99999999999999999999D", bad: true},
		{in: "PT9223372036854775807S", bad: true},
		{in: "", bad: true}, {in: "P", bad: true}, {in: "PT", bad: true}, {in: "P1", bad: true}, {in: "PT1", bad: true},
		{in: "P1DT", bad: true}, {in: "P1W", bad: true}, {in: "P1M", bad: true}, {in: "P1Y", bad: true},
		{in: "P1H", bad: true}, {in: "PT1D", bad: true}, {in: "PT1M1H", bad: true}, {in: "PT1S1S", bad: true},
		{in: "PT.5S", bad: true}, {in: "PT1.S", bad: true}, {in: "PT1.5H1S", bad: true}, {in: "PT-1S", bad: true},
		{in: "P-1D", bad: true}, {in: "--P1D", bad: true}, {in: "PTT1S", bad: true}, {in: "P1DT1S ", bad: true},
		{in: "1H", bad: true}, {in: "P1D1D", bad: true}, {in: "P1T", bad: true}, {in: "P1D1H", bad: true},
		{in: "P1D1S", bad: true}, {in: "P1D1T", bad: true}, {in: "P1D1", bad: true}, {in: "P1TS", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseDuration([]byte(tt.in))
			if tt.bad {
				require.Error(t, err)
				assert.Contains(t, err.Error(), `"`+tt.in+`"`, "the message shows the value")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			again, err := ParseDuration(AppendDuration(nil, got))
			require.NoError(t, err)
			assert.Equal(t, got, again)
		})
	}
}

func TestAppendDuration(t *testing.T) {
	tests := []struct {
		in   time.Duration
		want string
	}{
		{0, "P0D"}, {time.Nanosecond, "P0D"}, {-time.Nanosecond, "P0D"}, {time.Microsecond, "PT0.000001S"},
		{time.Hour, "PT3600S"}, {24 * time.Hour, "P1D"}, {25 * time.Hour, "P1DT3600S"}, {1500 * time.Millisecond, "PT1.5S"},
		{-time.Hour, "-PT3600S"}, {1<<63 - 1, "P106751DT85636.854775S"}, {-1 << 63, "-P106751DT85636.854775S"},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, string(AppendDuration(nil, tt.in)))
	}
}

func TestParseTime(t *testing.T) {
	tests := []struct{ in, want string }{
		{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"},
		{"2026-01-02 03:04:05", "2026-01-02T03:04:05Z"},
		{"2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500000Z"},
		{"2026-01-02T03:04:05+0530", "2026-01-01T21:34:05Z"},
		{"2026-01-02T03:04:05-05:30", "2026-01-02T08:34:05Z"},
		{"2024-02-29T23:59:59.9999995Z", "2024-03-01T00:00:00Z"},
		{"2026-01-02T03:04:05.12345649999999999999999999999Z", "2026-01-02T03:04:05.123456Z"},
		{"2026-01-02T03:04:05.1234565Z", "2026-01-02T03:04:05.123457Z"},
		{"0001-01-01T00:00:00+00:01", ""},
		{"9999-12-31T23:59:59.9999995Z", ""},
		{"0000-12-31T23:59:59Z", ""},
		{"1900-02-29T00:00:00Z", ""},
		{"2026-00-01T00:00:00Z", ""},
		{"2026-13-01T00:00:00Z", ""},
		{"2026-04-31T00:00:00Z", ""},
		{"2026-01-02T03:04:05+24:00", ""},
		{"2026-01-02T03:04:05+05:60", ""},
		{"2026-01-02T03:04:05+05", ""},
		{"2026-01-02T03:04:05Zx", ""},
		{"2026-01-02T03:04:05.Z", ""},
		{"2026-01-02T03:04:05.5", "2026-01-02T03:04:05.500000Z"},
		{"2026-01-02T03:60:05Z", ""},
		{"2026-01-02X03:04:05Z", ""},
		{"2026-0a-02T03:04:05Z", ""},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseTime([]byte(tt.in))
			if tt.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			text, err := AppendTime(nil, got)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(text))
		})
	}
}

func TestAppendTimeRefusesYears(t *testing.T) {
	for _, year := range []int{-1, 0, 10000} {
		_, err := AppendTime(nil, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		assert.ErrorContains(t, err, "1 to 9999")
	}
}

// The oracle for times is the standard library's layout, which the canonical form is one of.
func FuzzTime(f *testing.F) {
	f.Add("2026-01-02T03:04:05.000006Z")
	f.Add("2026-01-02 03:04:05-0530")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime([]byte(s))
		const layout = "2006-01-02T15:04:05.000000Z" // which time.Parse takes a little more for than it makes of it: an hour of one digit, a comma
		if std, stdErr := time.Parse(layout, s); stdErr == nil && std.Year() > 0 && std.Format(layout) == s {
			require.NoError(t, err)
			require.True(t, std.Equal(got), "%v, want %v", got, std)
		}
		if err != nil {
			return
		}
		text, err := AppendTime(nil, got)
		require.NoError(t, err)
		again, err := ParseTime(text)
		require.NoError(t, err)
		require.True(t, got.Equal(again))
	})
}

var durationForm = regexp.MustCompile(`^([+-]?)P(?:(\d+(?:\.\d+)?)D)?(T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// refDuration reads a duration slowly and exactly.
func refDuration(s string) (time.Duration, bool) {
	for _, c := range s {
		if c >= 0x80 {
			return 0, false // ToUpper makes ASCII of some
		}
	}
	m := durationForm.FindStringSubmatch(strings.ToUpper(s))
	if m == nil || m[3] == "T" {
		return 0, false
	}
	total, parts, fraction := new(big.Rat), 0, false
	for i, seconds := range map[int]int64{2: 86400, 4: 3600, 5: 60, 6: 1} {
		if m[i] == "" {
			continue
		}
		parts++
		n, _ := new(big.Rat).SetString(m[i])
		if strings.Contains(m[i], ".") {
			fraction = true
			for _, later := range m[i+1:] {
				if later != "" && later[0] != 'T' {
					return 0, false
				}
			}
			if i == 2 && m[3] != "" {
				return 0, false
			}
		}
		total.Add(total, n.Mul(n, big.NewRat(seconds*1_000_000, 1)))
	}
	if parts == 0 {
		return 0, false
	}
	if fraction {
		total.Add(total, big.NewRat(1, 2)) // rounds half up when what is behind the point is cut off
	}
	micros := new(big.Int).Quo(total.Num(), total.Denom())
	if micros.Cmp(big.NewInt(maxMicros)) > 0 {
		return 0, false
	}
	d := time.Duration(micros.Int64()) * time.Microsecond
	if m[1] == "-" {
		d = -d
	}
	return d, true
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{
		"P1DT3600.5S", "pt1h2m3s", "-P1.5D", "+PT0.0000005S", "P106751DT85636.854775S", "P106751DT85636.8547754999999999999999999S",
		"PT00000000000000000000000001S", "PT1.5H", "PT1.5HS", "P1.5DT", "P1DT", "PT0.00000049999999999999999999S",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDuration([]byte(s))
		want, ok := refDuration(s)
		require.Equal(t, ok, err == nil, "%q: %v", s, err)
		if err != nil {
			return
		}
		require.Equal(t, want, got, "%q", s)
		again, err := ParseDuration(AppendDuration(nil, got))
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.Zero(t, got%time.Microsecond)
	})
}
