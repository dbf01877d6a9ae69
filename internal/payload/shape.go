// Package payload writes and reads arguments and results: as JSON text, or as the bytes of another codec in base64. What the
// types of a task look like on the wire is worked out once for each of them.
package payload

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// Raw is JSON text that has not been decoded.
type Raw = json.RawMessage

// TypeError says why a type cannot hold arguments or results.
type TypeError struct{ err error }

func (e *TypeError) Error() string { return e.err.Error() }
func (e *TypeError) Unwrap() error { return e.err }

func typeError(format string, args ...any) error { return &TypeError{fmt.Errorf(format, args...)} }

// Args is how a positional type stands on the wire.
type Args struct {
	typ    reflect.Type
	kind   shapeKind
	fields []argsField // of a struct
	flat   bool        // they are the struct's own, none embedded
	null   bool        // the element of a slice or an array may be null
	err    error       // why the type is not positional
}

type argsField struct {
	name  string
	index []int
	null  bool // may be null
}

// Kwargs is how a named type stands on the wire.
type Kwargs struct {
	typ  reflect.Type
	kind shapeKind
	keys map[string]kwargsField // of a struct
	null bool                   // the element of a map may be null
	err  error                  // why the type is not named
}

type kwargsField struct {
	number int // from 0, in no particular order
	null   bool
}

type shapeKind uint8

const (
	shapeRaw shapeKind = iota
	shapeStruct
	shapeSlice
	shapeArray
	shapeMap
)

var (
	typeRaw             = reflect.TypeFor[Raw]()
	typeJSONMarshaler   = reflect.TypeFor[json.Marshaler]()
	typeJSONUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	typeTextMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	typeTextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Shape is how the arguments of a task stand on the wire.
type Shape struct {
	typ    reflect.Type
	Args   *Args
	Kwargs *Kwargs
}

// Err reports that the args type is not positional or the kwargs type not named, as a [*TypeError].
func (s *Shape) Err() error {
	if s.Args.err != nil {
		return s.Args.err
	}
	return s.Kwargs.err
}

// pair is a type for each two types of arguments.
type pair[A, K any] struct {
	_ A
	_ K
}

var (
	shapes sync.Map // reflect.Type of a pair -> *Shape

	// latestShapes has those of the latest types, where they are found faster.
	latestShapes [64]atomic.Pointer[Shape]
)

// ShapeOf returns the shape of arguments of these types.
func ShapeOf[A, K any]() *Shape {
	t := reflect.TypeFor[pair[A, K]]()
	id := reflect.ValueOf(t).Pointer() // of the type's description: any number will do
	latest := &latestShapes[(id>>5^id>>11)%uintptr(len(latestShapes))]
	if s := latest.Load(); s != nil && s.typ == t {
		return s
	}
	s, ok := shapes.Load(t)
	if !ok {
		s, _ = shapes.LoadOrStore(t, &Shape{t, newArgs(reflect.TypeFor[A]()), newKwargs(reflect.TypeFor[K]())})
	}
	latest.Store(s.(*Shape))
	return s.(*Shape)
}

func newArgs(t reflect.Type) *Args {
	s := &Args{typ: t}
	refuse := func(format string, args ...any) *Args {
		s.err = typeError("args type %v "+format+": want a struct, a slice or an array, which is positional",
			append([]any{t}, args...)...)
		return s
	}
	switch {
	case t == typeRaw:
		return s
	case hasOwnForm(t):
		return refuse("has a JSON or text form of its own; it can be a field")
	}
	switch t.Kind() {
	case reflect.Struct:
		s.kind = shapeStruct
		var problem string
		s.fields, problem = positionalFields(t, nil)
		if problem != "" {
			return refuse("%s", problem)
		}
		s.flat = !slices.ContainsFunc(s.fields, func(f argsField) bool { return len(f.index) > 1 })
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return refuse("is bytes; they can be a field, as in Args1[%v]", t)
		}
		s.kind, s.null = shapeSlice, nullable(t.Elem())
		if t.Kind() == reflect.Array {
			s.kind = shapeArray
		}
	case reflect.Map:
		return refuse("is named: use it as the kwargs type")
	case reflect.Pointer:
		return refuse("is a pointer: use %v itself", t.Elem())
	default:
		return refuse("is one value: wrap it, as in Args1[%v]", t)
	}
	s.err = checkReadable("args", t)
	return s
}

// positionalFields lists the fields of struct type t in the order of the wire.
func positionalFields(t reflect.Type, parent []int) (fields []argsField, problem string) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(parent[:len(parent):len(parent)], i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			switch {
			case f.Type.Kind() == reflect.Pointer:
				return nil, "embeds the pointer " + f.Type.String() + "; embed the struct"
			case f.Type.Kind() == reflect.Struct && !hasOwnForm(f.Type):
				inner, problem := positionalFields(f.Type, index)
				if problem != "" {
					return nil, problem
				}
				fields = append(fields, inner...)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty", "omitzero", "string":
				return nil, "has " + option + " on its field " + f.Name + ", and a position is always there as it is"
			}
		}
		fields = append(fields, argsField{name: f.Name, index: index, null: nullable(f.Type)})
	}
	return fields, ""
}

func newKwargs(t reflect.Type) *Kwargs {
	s := &Kwargs{typ: t}
	refuse := func(format string, args ...any) *Kwargs {
		s.err = typeError("kwargs type %v "+format+": want a struct or a map with string keys, which is named",
			append([]any{t}, args...)...)
		return s
	}
	switch {
	case t == typeRaw:
		return s
	case hasOwnForm(t):
		return refuse("has a JSON or text form of its own; it can be a field")
	}
	switch t.Kind() {
	case reflect.Struct:
		s.kind, s.keys = shapeStruct, namedFields(t)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return refuse("has keys of type %v", t.Key())
		}
		s.kind, s.null = shapeMap, nullable(t.Elem())
	case reflect.Slice, reflect.Array:
		return refuse("is positional: use it as the args type")
	case reflect.Pointer:
		return refuse("is a pointer: use %v itself", t.Elem())
	default:
		return refuse("is one value: make it a field")
	}
	s.err = checkReadable("kwargs", t)
	return s
}

// namedFields finds the keys of struct type t by the rules of encoding/json: a field hides those of its name that are
// embedded deeper; of several at one depth the tagged one counts, or none.
func namedFields(t reflect.Type) map[string]kwargsField {
	type candidate struct {
		typ    reflect.Type
		tagged bool
		count  int // fields of this name, depth and tagging
	}
	keys := make(map[string]kwargsField)
	hidden := make(map[string]bool) // names that a shallower level has decided
	visited := make(map[reflect.Type]bool)
	for level := []reflect.Type{t}; len(level) > 0; {
		var next []reflect.Type
		found := make(map[string]candidate)
		for _, t := range level {
			if visited[t] {
				continue
			}
			visited[t] = true
			for i := range t.NumField() {
				f := t.Field(i)
				tag := f.Tag.Get("json")
				name, _, _ := strings.Cut(tag, ",")
				if !validKey(name) {
					name = ""
				}
				elem := f.Type
				if elem.Kind() == reflect.Pointer {
					elem = elem.Elem()
				}
				embedded := f.Anonymous && elem.Kind() == reflect.Struct
				if tag == "-" || !f.IsExported() && !embedded {
					continue
				}
				if embedded && name == "" && !hasOwnForm(f.Type) {
					next = append(next, elem)
					continue
				}
				c := candidate{typ: f.Type, tagged: name != "", count: 1}
				if name == "" {
					name = f.Name
				}
				if old, ok := found[name]; ok && old.tagged == c.tagged {
					c.count += old.count
				} else if ok && old.tagged {
					continue
				}
				found[name] = c
			}
		}
		for name, c := range found {
			if !hidden[name] && c.count == 1 {
				keys[name] = kwargsField{number: len(keys), null: nullable(c.typ)}
			}
			hidden[name] = true
		}
		level = next
	}
	return keys
}

// validKey reports whether encoding/json takes a name in a tag as it is.
func validKey(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return s != ""
}

// hasOwnForm reports whether t's methods decide how it stands in JSON.
func hasOwnForm(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(typeJSONMarshaler) || p.Implements(typeTextMarshaler) ||
		p.Implements(typeJSONUnmarshaler) || p.Implements(typeTextUnmarshaler)
}

// nullable reports whether null says something about a value of type t.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return true
	}
	return reflect.PointerTo(t).Implements(typeJSONUnmarshaler)
}
