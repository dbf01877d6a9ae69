package omniq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// A type that can be written and not be read back is refused by whatever makes a task.
func TestTypesAreRefusedWhereTheyAreMade(t *testing.T) {
	type kwargs struct {
		Err error `json:"err"`
	}
	for name, make := range map[string]func(){
		"args Refer":    func() { omniq.ReferArgs[omniq.Args1[error], omniq.Void]("the task") },
		"kwargs Refer":  func() { omniq.ReferKwargs[kwargs, omniq.Void]("the task") },
		"result Refer":  func() { omniq.ReferNoArgs[error]("the task") },
		"result Define": func() { omniq.DefineNoArgs("the task", func(context.Context) (*kwargs, error) { return nil, nil }) },
	} {
		role, _, _ := strings.Cut(name, " ")
		message := panicOf(make)
		assert.Contains(t, message, `omniq: task "the task": omniq: invalid: `+role)
		assert.Contains(t, message, "is of type error, an interface with methods")
	}
	_, err := omniq.NewTask("f", omniq.Args1[error]{}, omniq.NoKwargs{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewTask("f", omniq.NoArgs{}, kwargs{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func panicOf(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return ""
}

// What this package has itself is a result like any other.
func TestOwnTypesCanBeResults(t *testing.T) {
	assert.NotPanics(t, func() {
		omniq.ReferNoArgs[omniq.TaskError]("f")
		omniq.ReferNoArgs[omniq.Task[omniq.NoArgs, omniq.NoKwargs]]("f")
	})
}
