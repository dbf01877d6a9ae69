package sqlite

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
)

// A statement is about so many rows at the most, and their envelopes have so many bytes together, unless a single one has more: it holds
// copies of them all.
const (
	atOnce      = 64
	bytesAtOnce = 1 << 20
)

// many is a statement about several rows of values: a statement each costs as much as what it does. It is prepared for one
// row, two, four and so on up to atOnce, so that there are few of these.
type many struct {
	width int // values in a row
	texts []string
}

// newMany makes a statement of what stands before its rows, how many values each has, and what stands after them.
func newMany(before string, width int, after string) *many {
	m := &many{width: width}
	row := "(?" + strings.Repeat(", ?", width-1) + ")"
	for n := 1; n <= atOnce; n *= 2 {
		m.texts = append(m.texts, before+row+strings.Repeat(", "+row, n-1)+after)
	}
	return m
}

// first is the statement for as many of the rows as it takes, and how many these are.
func (m *many) first(rows int) (text string, n int) {
	i := 0
	for i+1 < len(m.texts) && 2<<i <= rows {
		i++
	}
	return m.texts[i], 1 << i
}

// exec does the statement for all rows of values, each time with some more values before them.
func (m *many) exec(q querier, values []driver.Value, before ...driver.Value) error {
	for len(values) > 0 {
		text, n := m.first(len(values) / m.width)
		args := values[:n*m.width]
		if len(before) > 0 {
			args = slices.Concat(before, args)
		}
		if _, err := q.exec(text, args...); err != nil {
			return err
		}
		values = values[n*m.width:]
	}
	return nil
}

// query does the statement for all rows of values, each time with some more values after them.
func (m *many) query(q querier, row func([]driver.Value) error, values []driver.Value, last ...driver.Value) error {
	for len(values) > 0 {
		text, n := m.first(len(values) / m.width)
		args := values[: n*m.width : n*m.width]
		if err := q.query(text, row, append(args, last...)...); err != nil {
			return err
		}
		values = values[n*m.width:]
	}
	return nil
}

// addNew inserts the first ones of some rows into a table, unless something is in the way of one: then none, and all is false. n is how
// many they are.
func (m *many) addNew(q querier, table string, values []driver.Value, last ...driver.Value) (n int, all bool, err error) {
	text, n := m.first(len(values) / m.width)
	var before int64
	if n > 1 {
		if before, err = one(q, "SELECT seq FROM "+table+" ORDER BY seq DESC LIMIT 1"); err != nil {
			return n, false, err
		}
	}
	args := values[: n*m.width : n*m.width]
	added, err := q.exec(text, append(args, last...)...)
	if err != nil || added == 0 || added == int64(n) {
		return n, added == int64(n), err
	}
	removed, err := q.exec("DELETE FROM "+table+" WHERE seq > ?", before) // a new row comes after all others
	if err == nil && removed != added {
		err = fmt.Errorf("sqlite: %d rows of %s come after number %d, want the %d that were added", removed, table, before, added)
	}
	return n, false, err
}
