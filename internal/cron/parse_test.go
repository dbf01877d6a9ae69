package cron_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/cron"
)

// Expressions of one line say the same, and the first has the canonical text.
func TestEqual(t *testing.T) {
	for _, texts := range [][]string{
		{"0 0 1 1 *", "@yearly", "@annually", "@YEARLY", " 00  0\t1 jan * ", "0 0 0 1 1 *", "0 0 1 JAN 0,1-6,*"},
		{"0 0 1 * *", "@monthly", "0 0 1 */1 *", "0 0 1 1-12 *", "0 0 1 2-1 *"},
		{"0 0 * * 0", "@weekly", "0 0 * * 7", "0 0 * * sun", "0 0 * * 0,7", "0 0 * * 7-7", "0 0 * * 7-0", "0 0 * * SUN#1,SUN#2,SUN#3,0#4,7#5"},
		{"0 0 * * *", "@daily", "@midnight", "0 0 * * 0-7", "0 0 * * 1-7", "0 0 * * MON-SUN", "0 0 1-31 * *", "0 0 1-31 * MON", "0 0 13 * 0-6", "0 0 *,L * *"},
		{"0 * * * *", "@hourly", "0 */1 * * *", "0 5,* * * *", "0-0 * * * *"},
		{"0 0-23 * * *", "0 0-23/1 * * *", "0 5-4 * * *"}, // written without a *: a fixed time
		{"*/15 * * * *", "0/15 * * * *", "0-59/15 * * * *", "0,15/15 * * * *", "*/15,30 * * * *"},
		{"0,15,30,45 2 * * *", "45,30,15,0 2 * * *"}, // written without a step: a fixed time
		{"*/15 2 * * *", "0-45/15 2-2 * * *"},
		{"5-50/15 2 * * *", "5/15 2 * * *", "5-59/15 2 * * *"},
		{"0 0-4,22,23 * * *", "0 22-4 * * *", "0 22,23,0-4 * * *"},
		{"0 */2 * * *", "0 22-21/2 * * *"},
		{"0 1-3/2,23 * * *", "0 23-3/2 * * *"},
		{"0 0 * * 0,1,5,6", "0 0 * * FRI-MON", "0 0 * * 5-1", "0 0 * * 5-7,1", "0 0 * * SAT,sun,MON,Fri"},
		{"0 0 * * 1-5", "0 0 * * MON-FRI", "0 0 * * FRI,1-4"},
		{"0 0 * * */2", "0 0 * * 0-7/2", "0 0 * * 0,2,4,6", "0 0 * * 7/2"},
		{"0 0 * * 1-5/2", "0 0 * * 1,3,5"},
		{"0 0 1-3,28-31 * *", "0 0 28-3 * *"},
		{"0 0 * 1,2,11,12 *", "0 0 * NOV-FEB *"},
		{"0 0 L * *", "0 0 l * *", "0 0 L,L * *"},
		{"0 0 15,L * *", "0 0 L,15 * *"},
		{"0 0 L * 1#1,5L", "0 0 L * FRIL,MON#1", "0 0 L * 5l,mon#1"},
		{"0 0 * * 1,5L", "0 0 * * MON,MON#2,MONL,FRIL"},
		{"0 0 */2 * 1", "0 0 1-31/2 * MON"},
		{"*/10 * * * * *", "*/10 */1 * * * *"},
		{"30 0 0 * * *", "30 0 0 * * 0-6"},
		{"0-59 0 0 * * *", "30-29 0 0 * * *"},
		{"6-5/59 2 * * *", "6-5/59 2-2 * * *"},
		{"0-20/20,1,40 2 * * *", "1,*/20 2 * * *"},
		{"0-2/2,1 2 * * *", "0-2/2,1-1 2 * * *"},
	} {
		want := parse(t, texts[0])
		assert.Equal(t, texts[0], want.String())
		for _, text := range texts[1:] {
			assert.Equal(t, want, parse(t, text), "%s and %s", texts[0], text)
		}
	}
	assert.Empty(t, cron.Expression{}.String())
	assert.NotEqual(t, parse(t, "0 0 * * *"), parse(t, "0 0 * * 1"))
	assert.NotEqual(t, parse(t, "0,30 2 * * *"), parse(t, "*/30 2 * * *"), "one is a fixed time, the other a rhythm")
}

func TestParseRefuses(t *testing.T) {
	const fields = "want 5 fields (minute, hour, day of month, month, day of week) or 6 (second before them)"
	const nicknames = "one of @yearly, @monthly, @weekly, @daily and @hourly"
	for _, test := range []struct {
		text, want string
		offset     int // of the wrong part
	}{
		{text: "", want: `cron expression "": it is empty, ` + fields},
		{text: "   ", want: `cron expression "   ": it is empty, ` + fields},
		{text: "5", want: `cron expression "5": it has 1 field, ` + fields},
		{text: "* * * *", want: `cron expression "* * * *": it has 4 fields, ` + fields},
		{text: "* * * * * * *", want: `cron expression "* * * * * * *": it has 7 fields, ` + fields + `; there is none for the year`},
		{text: "* * * * * * * *", want: `cron expression "* * * * * * * *": it has 8 fields, ` + fields},
		{text: "0 0 1 1 * # yearly", want: `cron expression "0 0 1 1 * # yearly": it has 7 fields, ` + fields + `; there is none for the year`},
		{text: "@every 5m", want: `cron expression "@every 5m": @every is a distance, not times of a clock; want fields like */5 * * * *, or a schedule by distance instead of cron`},
		{text: "@reboot", want: `cron expression "@reboot": @reboot is no time of a clock; want fields or ` + nicknames},
		{text: "@fortnightly", want: `cron expression "@fortnightly": "@fortnightly" is not known, want ` + nicknames},
		{text: "@daily 5", want: `cron expression "@daily 5": @daily is a whole expression, want nothing after it`},
		{text: "TZ=Europe/Berlin 0 0 * * *", want: `cron expression "TZ=Europe/Berlin 0 0 * * *": "TZ=Europe/Berlin" is no part of an expression, want the zone given beside it`},
		{text: "CRON_TZ=UTC @daily", want: `cron expression "CRON_TZ=UTC @daily": "CRON_TZ=UTC" is no part of an expression, want the zone given beside it`},
		{text: "60 * * * *", want: `cron expression "60 * * * *": field 1 (minute) "60": 60 is too large, want 0 to 59`},
		{text: "* 24 * * *", want: `cron expression "* 24 * * *": field 2 (hour) "24": 24 is too large, want 0 to 23`, offset: 2},
		{text: "* * 0 * *", want: `cron expression "* * 0 * *": field 3 (day of month) "0": 0 is too small, want 1 to 31`, offset: 4},
		{text: "* * 32 * *", want: `cron expression "* * 32 * *": field 3 (day of month) "32": 32 is too large, want 1 to 31`, offset: 4},
		{text: "* * * 0 *", want: `cron expression "* * * 0 *": field 4 (month) "0": 0 is too small, want 1 to 12 or JAN to DEC`, offset: 6},
		{text: "* * * 13 *", want: `cron expression "* * * 13 *": field 4 (month) "13": 13 is too large, want 1 to 12 or JAN to DEC`, offset: 6},
		{text: "* * * * 8", want: `cron expression "* * * * 8": field 5 (day of week) "8": 8 is too large, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "60 0 0 * * *", want: `cron expression "60 0 0 * * *": field 1 (second) "60": 60 is too large, want 0 to 59`},
		{text: "0 0 1 1 * 2027", want: `cron expression "0 0 1 1 * 2027": field 6 (day of week) "2027": 2027 is too large, want 0 to 7 or SUN to SAT`, offset: 10},
		{text: "-1 * * * *", want: `cron expression "-1 * * * *": field 1 (minute) "-1": "-1" is no range, want a first and a last value like 1-5`},
		{text: "1- * * * *", want: `cron expression "1- * * * *": field 1 (minute) "1-": "1-" is no range, want a first and a last value like 1-5`},
		{text: "1-2-3 * * * *", want: `cron expression "1-2-3 * * * *": field 1 (minute) "1-2-3": "1-2-3" is no range, want a first and a last value like 1-5`},
		{text: "- * * * *", want: `cron expression "- * * * *": field 1 (minute) "-": "-" is no range, want a first and a last value like 1-5`},
		{text: "1,,2 * * * *", want: `cron expression "1,,2 * * * *": field 1 (minute) "1,,2": a value is missing beside a comma, want one on both sides`, offset: 2},
		{text: ",1 * * * *", want: `cron expression ",1 * * * *": field 1 (minute) ",1": a value is missing beside a comma, want one on both sides`},
		{text: "1, * * * *", want: `cron expression "1, * * * *": field 1 (minute) "1,": a value is missing beside a comma, want one on both sides`, offset: 2},
		{text: "0 25-3 * * *", want: `cron expression "0 25-3 * * *": field 2 (hour) "25-3": 25 is too large, want 0 to 23`, offset: 2},
		{text: "*/0 * * * *", want: `cron expression "*/0 * * * *": field 1 (minute) "*/0": step 0 in "*/0" stays where it is, want a step of 1 to 59`},
		{text: "*/90 * * * *", want: `cron expression "*/90 * * * *": field 1 (minute) "*/90": step 90 in "*/90" leaves nothing but 0: want a step of 1 to 59, or 0 without a step`},
		{text: "*/60 * * * *", want: `cron expression "*/60 * * * *": field 1 (minute) "*/60": step 60 in "*/60" leaves nothing but 0: want a step of 1 to 59, or 0 without a step`},
		{text: "*/ * * * *", want: `cron expression "*/ * * * *": field 1 (minute) "*/": "" in "*/" is no step, want a step of 1 to 59`},
		{text: "*/x * * * *", want: `cron expression "*/x * * * *": field 1 (minute) "*/x": "x" in "*/x" is no step, want a step of 1 to 59`},
		{text: "/5 * * * *", want: `cron expression "/5 * * * *": field 1 (minute) "/5": "/5" has nothing before the step, want */5 or a range with a step`},
		{text: "*/5/2 * * * *", want: `cron expression "*/5/2 * * * *": field 1 (minute) "*/5/2": "5/2" in "*/5/2" is no step, want a step of 1 to 59`},
		{text: "10-20/11 * * * *", want: `cron expression "10-20/11 * * * *": field 1 (minute) "10-20/11": step 11 in "10-20/11" leaves nothing but 10: want a step of 1 to 10, or 10 without a step`},
		{text: "5-5/2 * * * *", want: `cron expression "5-5/2 * * * *": field 1 (minute) "5-5/2": step 2 in "5-5/2" leaves nothing but 5: want a range before the step, or 5 without a step`},
		{text: "* * */31 * *", want: `cron expression "* * */31 * *": field 3 (day of month) "*/31": step 31 in "*/31" leaves nothing but 1: want a step of 1 to 30, or 1 without a step`, offset: 4},
		{text: "59/5 * * * *", want: `cron expression "59/5 * * * *": field 1 (minute) "59/5": step 5 in "59/5" leaves nothing but 59: want a range before the step, or 59 without a step`},
		{text: "*/-5 * * * *", want: `cron expression "*/-5 * * * *": field 1 (minute) "*/-5": "-5" in "*/-5" is no step, want a step of 1 to 59`},
		{text: "*/99999999999999999999 * * * *", want: `cron expression "*/99999999999999999999 * * * *": field 1 (minute) "*/99999999999999999999": step 99999999999999999999 in "*/999999999999999999" leaves nothing but 0: want a step of 1 to 59, or 0 without a step`},
		{text: "*5 * * * *", want: `cron expression "*5 * * * *": field 1 (minute) "*5": "*5" is no minute, want * alone, or with a step: */2`},
		{text: "** * * * *", want: `cron expression "** * * * *": field 1 (minute) "**": "**" is no minute, want * alone, or with a step: */2`},
		{text: "1.5 * * * *", want: `cron expression "1.5 * * * *": field 1 (minute) "1.5": "1.5" is no minute, want 0 to 59`},
		{text: "+5 * * * *", want: `cron expression "+5 * * * *": field 1 (minute) "+5": "+5" is no minute, want 0 to 59`},
		{text: "five * * * *", want: `cron expression "five * * * *": field 1 (minute) "five": "five" is no minute, want 0 to 59`},
		{text: "H * * * *", want: `cron expression "H * * * *": field 1 (minute) "H": "H" is no minute, want 0 to 59`},
		{text: "\xff * * * *", want: `cron expression "\xff * * * *": field 1 (minute) "\xff": "\xff" is no minute, want 0 to 59`},
		{text: "? * * * *", want: `cron expression "? * * * *": field 1 (minute) "?": ? is not known here, want * for every minute`},
		{text: "* * ? * *", want: `cron expression "* * ? * *": field 3 (day of month) "?": ? is not known here, want * for every day of month`, offset: 4},
		{text: "* * * * ?", want: `cron expression "* * * * ?": field 5 (day of week) "?": ? is not known here, want * for every day of week`, offset: 8},
		{text: "* * L-3 * *", want: `cron expression "* * L-3 * *": field 3 (day of month) "L-3": "L" is not known, want L alone: the last day of the month`, offset: 4},
		{text: "* * LW * *", want: `cron expression "* * LW * *": field 3 (day of month) "LW": "LW" is not known, want L alone: the last day of the month`, offset: 4},
		{text: "* * 1,15W * *", want: `cron expression "* * 1,15W * *": field 3 (day of month) "1,15W": "15W", the working day next to a date, is not known; want a day of the month, 1 to 31, or L`, offset: 6},
		{text: "* * W * *", want: `cron expression "* * W * *": field 3 (day of month) "W": "W", the working day next to a date, is not known; want a day of the month, 1 to 31, or L`, offset: 4},
		{text: "* * L/2 * *", want: `cron expression "* * L/2 * *": field 3 (day of month) "L/2": "L" is not known, want L alone: the last day of the month`, offset: 4},
		{text: "* L * * *", want: `cron expression "* L * * *": field 2 (hour) "L": "L" is no hour, want 0 to 23`, offset: 2},
		{text: "* * * * L", want: `cron expression "* * * * L": field 5 (day of week) "L": L is no weekday, want one with it: 5L is the last Friday of the month`, offset: 8},
		{text: "* * * * 8L", want: `cron expression "* * * * 8L": field 5 (day of week) "8L": 8 is too large, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "* * * * FOOL", want: `cron expression "* * * * FOOL": field 5 (day of week) "FOOL": "FOO" is no day of week, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "* * * * MON#6", want: `cron expression "* * * * MON#6": field 5 (day of week) "MON#6": "6" in "MON#6" is no week of a month, want 1 to 5, or 1L for the last`, offset: 8},
		{text: "* * * * 1,MON#", want: `cron expression "* * * * 1,MON#": field 5 (day of week) "1,MON#": "" in "MON#" is no week of a month, want 1 to 5, or 1L for the last`, offset: 10},
		{text: "* * * * #2", want: `cron expression "* * * * #2": field 5 (day of week) "#2": a value is missing, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "* * * * 8#2", want: `cron expression "* * * * 8#2": field 5 (day of week) "8#2": 8 is too large, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "* * * * MON#2#3", want: `cron expression "* * * * MON#2#3": field 5 (day of week) "MON#2#3": "2#3" in "MON#2#3" is no week of a month, want 1 to 5, or 1L for the last`, offset: 8},
		{text: "* * * * MON#L", want: `cron expression "* * * * MON#L": field 5 (day of week) "MON#L": "L" in "MON#L" is no week of a month, want 1 to 5, or 1L for the last`, offset: 8},
		{text: "* * * * 5L-6", want: `cron expression "* * * * 5L-6": field 5 (day of week) "5L-6": "5L" is no day of week, want 0 to 7 or SUN to SAT`, offset: 8},
		{text: "* * * * MON#1/2", want: `cron expression "* * * * MON#1/2": field 5 (day of week) "MON#1/2": "1/2" in "MON#1/2" is no week of a month, want 1 to 5, or 1L for the last`, offset: 8},
		{text: "* * * * MONDAY", want: `cron expression "* * * * MONDAY": field 5 (day of week) "MONDAY": "MONDAY" is no day of week, want MON or 1`, offset: 8},
		{text: "* * * JANUARY *", want: `cron expression "* * * JANUARY *": field 4 (month) "JANUARY": "JANUARY" is no month, want JAN or 1`, offset: 6},
		{text: "* * * MON *", want: `cron expression "* * * MON *": field 4 (month) "MON": "MON" is no month, want 1 to 12 or JAN to DEC`, offset: 6},
		{text: "MON * * * *", want: `cron expression "MON * * * *": field 1 (minute) "MON": "MON" is no minute, want 0 to 59`},
		{text: "* * * JAN-FOO *", want: `cron expression "* * * JAN-FOO *": field 4 (month) "JAN-FOO": "FOO" is no month, want 1 to 12 or JAN to DEC`, offset: 6},
		{text: "* * * * FRI-", want: `cron expression "* * * * FRI-": field 5 (day of week) "FRI-": "FRI-" is no range, want a first and a last value like 1-5`, offset: 8},
		{text: "0 0 30 2 *", want: `cron expression "0 0 30 2 *": field 3 (day of month) "30": it never happens, the longest month of FEB has 29 days; want an earlier day, L for the last one, or another month`, offset: 4},
		{text: "0 0 31 2,4,6,9,11 *", want: `cron expression "0 0 31 2,4,6,9,11 *": field 3 (day of month) "31": it never happens, the longest month of FEB,APR,JUN,SEP,NOV has 30 days; want an earlier day, L for the last one, or another month`, offset: 4},
		{text: "0 0 0 30,31 feb *", want: `cron expression "0 0 0 30,31 feb *": field 4 (day of month) "30,31": it never happens, the longest month of FEB has 29 days; want an earlier day, L for the last one, or another month`, offset: 6},
	} {
		t.Run(test.text, func(t *testing.T) {
			e, err := cron.Parse(test.text)
			var problem *cron.Error
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, test.want, err.Error())
			assert.Equal(t, test.text, problem.Expression)
			assert.Equal(t, test.offset, problem.Offset)
			assert.Equal(t, cron.Expression{}, e)
		})
	}
}

func TestParseRefusesUnread(t *testing.T) {
	_, err := cron.Parse(strings.Repeat("1,", 1<<20))
	require.EqualError(t, err, `cron expression "`+strings.Repeat("1,", 40)+`": it has 2097152 bytes, want at most 1024`)
	_, err = cron.Parse(strings.Repeat("9", 100) + " * * * *")
	require.EqualError(t, err, `cron expression "`+strings.Repeat("9", 80)+`": field 1 (minute) "`+strings.Repeat("9", 40)+
		`": 99999999999999999999... is too large, want 0 to 59`)
}
