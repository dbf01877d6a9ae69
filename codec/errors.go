package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	gojson "github.com/goccy/go-json"
)

// unsupportedError is an error that ErrUnsupported is found in, without its text.
type unsupportedError struct {
	msg   string
	cause error // or nil
}

func (e *unsupportedError) Error() string { return e.msg }

func (e *unsupportedError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrUnsupported}
	}
	return []error{ErrUnsupported, e.cause}
}

// encodeError is about the value at place, which is "" for the value itself.
func encodeError(t reflect.Type, place string, problem error) error {
	if len(place) > 100 {
		place = strings.ToValidUTF8(place[:100], "") + "..."
	}
	if place != "" {
		place += ": "
	}
	return &unsupportedError{fmt.Sprintf("codec: json: cannot encode %s: %s%v", typeName(t), place, problem), problem}
}

// typeName is the name of t in an error: types without a name can be as long as a program.
func typeName(t reflect.Type) string {
	if name := t.String(); len(name) <= 80 {
		return name
	}
	if t.Kind() == reflect.Struct && t.Name() == "" {
		return "struct{...}"
	}
	return strings.ToValidUTF8(t.String()[:77], "") + "..."
}

func invalidUTF8(rv reflect.Value) error {
	place, problem := findProblem(rv)
	if problem == nil { // the text of a method
		problem = errors.New("the text of a value in it is not UTF-8")
	}
	return encodeError(rv.Type(), place, problem)
}

var errTooLarge = fmt.Errorf("its text has more than %d bytes", MaxSize)

// libraryEncodeError gives an error of a library for rv the words and the place that the library leaves out.
func libraryEncodeError(rv reflect.Value, err error) error {
	var typ reflect.Type
	var cause error
	if e, ok := errors.AsType[*gojson.MarshalerError](err); ok {
		typ, cause = e.Type, e.Err
	} else if e, ok := errors.AsType[*json.MarshalerError](err); ok {
		typ, cause = e.Type, e.Err
	}
	if cause != nil {
		return fmt.Errorf("codec: json: cannot encode %s: a method of %s: %w", typeName(rv.Type()), typeName(typ), cause)
	}
	if place, problem := findProblem(rv); problem != nil {
		return encodeError(rv.Type(), place, problem)
	}
	return &unsupportedError{
		fmt.Sprintf("codec: json: cannot encode %s: %s", typeName(rv.Type()), strings.TrimPrefix(err.Error(), "json: ")), err,
	}
}

// libraryDecodeError gives an error of a library about a value of type t the words that the library leaves out.
func libraryDecodeError(t reflect.Type, err error) error {
	var value, field string
	var typ reflect.Type
	if e, ok := errors.AsType[*gojson.UnmarshalTypeError](err); ok {
		value, field, typ = e.Value, e.Field, e.Type
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		value, field, typ = e.Value, e.Field, e.Type
	}
	if typ == nil {
		return fmt.Errorf("codec: json: cannot decode %s: %w", typeName(t), err)
	}
	msg := fmt.Sprintf("codec: json: cannot decode %s: ", typeName(t))
	if field != "" {
		msg += "." + strings.TrimPrefix(field, ".") + ": "
	}
	msg += fmt.Sprintf("%.80s does not fit a value of type %s", value, typeName(typ))
	switch typ.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return &unsupportedError{msg, nil}
	case reflect.Interface:
		if typ.NumMethod() > 0 {
			return &unsupportedError{msg, nil}
		}
	}
	return errors.New(msg)
}

// misfit says that data is not what a value of type t is written as.
func misfit(data []byte, t reflect.Type) error {
	what := "no value"
	if len(data) > 0 {
		switch c := data[0]; {
		case c == '"':
			what = "a string"
		case c == '{':
			what = "an object"
		case c == '[':
			what = "an array"
		case c == '-' || '0' <= c && c <= '9':
			what = fmt.Sprintf("number %.40s", data)
		default:
			what = fmt.Sprintf("%.5s", data)
		}
	}
	return fmt.Errorf("codec: json: %s does not fit a value of type %s", what, typeName(t))
}
