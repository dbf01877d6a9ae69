package cron

import "fmt"

// Error says why [Parse] refused an expression.
type Error struct {
	Expression string // as it was given
	Field      int    // which field is wrong, from 1; 0 if it is the expression as a whole
	Name       string // the field's name, "day of month"; empty if Field is 0
	Text       string // the field as it was given; empty if Field is 0
	Offset     int    // the byte of Expression at which the wrong part begins
	Problem    string // what is wrong with which value, and what would be right
}

// Error names the expression, the field and the problem. Long expressions are cut.
func (e *Error) Error() string {
	if e.Field == 0 {
		return fmt.Sprintf("cron expression %.80q: %s", e.Expression, e.Problem)
	}
	return fmt.Sprintf("cron expression %.80q: field %d (%s) %.40q: %s", e.Expression, e.Field, e.Name, e.Text, e.Problem)
}
