package omniq

import "reflect"

// What Refer and Define say of types, without an instance of theirs for each.

func CheckArgs(t reflect.Type) error   { return newArgsShape(t).err }
func CheckKwargs(t reflect.Type) error { return newKwargsShape(t).err }
func CheckResult(t reflect.Type) error { return checkResult(t) }
