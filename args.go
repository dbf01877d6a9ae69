package omniq

import "encoding/json"

// Raw is JSON text that has not been decoded. As A it is an array, as K an object, as R any document. The nil value
// stands for [], {} and null.
type Raw = json.RawMessage

// RawTask is a task in the form that clients, workers and backends handle: the arguments are JSON text, or the bytes
// of the codec that its Codec field names.
type RawTask = Task[Raw, Raw]

// RawResult is a result in the form that clients, workers and backends handle.
type RawResult = TaskResult[Raw]

// NoArgs is the args type of a task without positional arguments.
type NoArgs struct{}

// NoKwargs is the kwargs type of a task without keyword arguments.
type NoKwargs struct{}

// Void is the result type of a task without a result. It is null on the wire; any result can be read as Void.
type Void struct{}

// Args1 is an args type of one element, for tasks that want no type of their own.
type Args1[T1 any] struct{ V1 T1 }

// Args2 is an args type of two elements.
type Args2[T1, T2 any] struct {
	V1 T1
	V2 T2
}

// Args3 is an args type of three elements.
type Args3[T1, T2, T3 any] struct {
	V1 T1
	V2 T2
	V3 T3
}

// Args4 is an args type of four elements.
type Args4[T1, T2, T3, T4 any] struct {
	V1 T1
	V2 T2
	V3 T3
	V4 T4
}

// Args5 is an args type of five elements.
type Args5[T1, T2, T3, T4, T5 any] struct {
	V1 T1
	V2 T2
	V3 T3
	V4 T4
	V5 T5
}

// Args6 is an args type of six elements. For more, use a struct whose fields have names.
type Args6[T1, T2, T3, T4, T5, T6 any] struct {
	V1 T1
	V2 T2
	V3 T3
	V4 T4
	V5 T5
	V6 T6
}

// MakeArgs1 returns an [Args1] whose type is inferred.
func MakeArgs1[T1 any](v1 T1) Args1[T1] { return Args1[T1]{v1} }

// MakeArgs2 returns an [Args2] whose types are inferred.
func MakeArgs2[T1, T2 any](v1 T1, v2 T2) Args2[T1, T2] { return Args2[T1, T2]{v1, v2} }

// MakeArgs3 returns an [Args3] whose types are inferred.
func MakeArgs3[T1, T2, T3 any](v1 T1, v2 T2, v3 T3) Args3[T1, T2, T3] {
	return Args3[T1, T2, T3]{v1, v2, v3}
}

// MakeArgs4 returns an [Args4] whose types are inferred.
func MakeArgs4[T1, T2, T3, T4 any](v1 T1, v2 T2, v3 T3, v4 T4) Args4[T1, T2, T3, T4] {
	return Args4[T1, T2, T3, T4]{v1, v2, v3, v4}
}

// MakeArgs5 returns an [Args5] whose types are inferred.
func MakeArgs5[T1, T2, T3, T4, T5 any](v1 T1, v2 T2, v3 T3, v4 T4, v5 T5) Args5[T1, T2, T3, T4, T5] {
	return Args5[T1, T2, T3, T4, T5]{v1, v2, v3, v4, v5}
}

// MakeArgs6 returns an [Args6] whose types are inferred.
func MakeArgs6[T1, T2, T3, T4, T5, T6 any](v1 T1, v2 T2, v3 T3, v4 T4, v5 T5, v6 T6) Args6[T1, T2, T3, T4, T5, T6] {
	return Args6[T1, T2, T3, T4, T5, T6]{v1, v2, v3, v4, v5, v6}
}
