package omniq

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
	"github.com/omniq-go/omniq/internal/payload"
)

// recipe is what Input says of a task: how its args or its kwargs are made of the results of what it has waited for. On the
// wire it is an object with one of
//
//	"args": how the args are made
//	"kwargs": how the kwargs are made
//
// and "each": true for a task that stands for a call for each element of these. How a value is made is one of
//
//	7                                 the result of the dependency with this number, from 0
//	[...]                             the elements of a slice, or the fields of Args1 to Args6
//	{"value":..., "codec":"..."}      a result as it stands in an envelope
//	{"settled":...}                   the outcome of what is made so
//	{"tick":true}                     what stands behind "tick" in the object, which a schedule has put there
type recipe struct {
	args, kwargs []byte
	each         bool
	tick         []byte
}

func readRecipe(input Raw) (r recipe, err error) {
	o, err := jsontext.NewObject(input, jsontext.SkipSpace(input, 0), codec.MaxDepth)
	for more := true; err == nil; {
		if more, err = o.Next(); !more {
			break
		}
		text := input[o.Start:o.End]
		switch string(o.Key) {
		case "args":
			r.args = text
		case "kwargs":
			r.kwargs = text
		case "each":
			r.each = string(text) == "true"
		case "tick":
			r.tick = text
		}
	}
	if err == nil && (r.args == nil) == (r.kwargs == nil) {
		err = errors.New("want either args or kwargs")
	}
	if err != nil {
		return r, fmt.Errorf("omniq: input: %w", err)
	}
	return r, nil
}

// cook makes arguments by recipes.
type cook struct {
	inputs []*RawResult
	codecs []codec.Codec
	tick   []byte
}

// make makes a value that to points to, and reports which input does not fit.
func (c *cook) make(text []byte, to any) error { return c.value(text, reflect.ValueOf(to).Elem()) }

var errRecipe = errors.New("omniq: input: no recipe that this release knows")

func (c *cook) value(text []byte, v reflect.Value) error {
	switch text[0] {
	case '[':
		return c.list(text, v)
	case '{':
		return c.object(text, v)
	}
	i, err := strconv.Atoi(string(text))
	if err != nil || i < 0 || i >= len(c.inputs) || c.inputs[i] == nil {
		return fmt.Errorf("omniq: input: no result of the dependency with number %.20s, of %d", text, len(c.inputs))
	}
	r := c.inputs[i]
	if r.Status != StatusSuccess {
		return &unmetError{r.Err()}
	}
	if err := decodeResultInto(r, c.codecs, v.Addr().Interface()); err != nil {
		return fmt.Errorf("the result of task %v: %w", r.TaskID, err)
	}
	return nil
}

// unmetError is the error of an input that has not succeeded.
type unmetError struct{ err error }

func (e *unmetError) Error() string { return e.err.Error() }
func (e *unmetError) Unwrap() error { return e.err }

// list makes a slice or the fields of an args type.
func (c *cook) list(text []byte, v reflect.Value) error {
	fields := -1 // of an args type
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, bytes.Count(text, []byte(","))+1))
	case reflect.Struct:
		fields = v.NumField()
	default:
		return fmt.Errorf("omniq: input: a list for a value of type %v, want a slice or an args type", v.Type())
	}
	array, err := jsontext.NewArray(text, 0, codec.MaxDepth)
	i, more := 0, err == nil
	for ; more; i++ {
		if more, err = array.Next(); !more {
			break
		}
		var at reflect.Value
		switch {
		case fields < 0:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			at = v.Index(i)
		case i < fields:
			at = v.Field(i)
		default:
			continue
		}
		if err := c.value(text[array.Start:array.End], at); err != nil {
			return err
		}
	}
	if err == nil && fields >= 0 && i != fields {
		err = fmt.Errorf("omniq: input: %d elements for %d of type %v", i, fields, v.Type())
	}
	return err
}

// outcome is an [Outcome] of any type.
type outcome interface {
	parts() (value any, err **TaskError)
}

func (o *Outcome[R]) parts() (value any, err **TaskError) { return &o.Value, &o.Err }

func (c *cook) object(text []byte, v reflect.Value) error {
	var r RawResult
	o, err := jsontext.NewObject(text, 0, codec.MaxDepth)
	for more := true; err == nil; {
		if more, err = o.Next(); !more {
			break
		}
		part := text[o.Start:o.End]
		switch string(o.Key) {
		case "settled":
			return c.settled(part, v)
		case "value":
			r.Status, r.ResultData = StatusSuccess, part
		case "codec":
			r.Codec, err = strconv.Unquote(string(part))
		case "tick":
			r.Status, r.ResultData = StatusSuccess, c.tick
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("omniq: input: %w", err)
	case r.Status == 0:
		return errRecipe
	}
	return decodeResultInto(&r, c.codecs, v.Addr().Interface())
}

func (c *cook) settled(text []byte, v reflect.Value) error {
	o, ok := v.Addr().Interface().(outcome)
	if !ok {
		return fmt.Errorf("omniq: input: an outcome for a value of type %v, want an Outcome", v.Type())
	}
	value, failure := o.parts()
	err := c.make(text, value)
	if unmet, ok := errors.AsType[*unmetError](err); ok {
		reflect.ValueOf(value).Elem().SetZero()
		*failure, err = NewTaskError(unmet.err), nil
	}
	return err
}

// decodeResultInto decodes the data of a result, which is a success, into what to points to.
func decodeResultInto(raw *RawResult, codecs []codec.Codec, to any) error {
	c, err := codecFor(raw.Codec, codecs)
	if err != nil {
		return err
	}
	if _, ok := to.(*Void); ok {
		return nil
	}
	data := []byte(raw.ResultData)
	switch {
	case len(data) == 0:
		data = []byte("null")
	case isOpaque(raw.Codec):
		if data, err = payload.DecodeBase64(data); err != nil {
			return err
		}
	}
	return payload.DecodeResult(data, false, c, to, true)
}
