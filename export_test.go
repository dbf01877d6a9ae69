package omniq

import (
	"reflect"

	"github.com/omniq-go/omniq/internal/payload"
)

// What Refer and Define say of types, without an instance of theirs for each.

func CheckArgs(t reflect.Type) error   { return payloadFault("", payload.CheckArgs(t)) }
func CheckKwargs(t reflect.Type) error { return payloadFault("", payload.CheckKwargs(t)) }
func CheckResult(t reflect.Type) error { return payloadFault("", payload.CheckResult(t)) }
