package payload

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// What is written must be readable: a type whose values JSON can hold but not give back would lose a task, or a result,
// where nobody looks. The rules are those of JSON whatever codecs a client and a worker have: a definition does not know
// them, and JSON can always be read.

// checkReadable reports what is wrong with a type of arguments or results, whose role is named in the error.
func checkReadable(role string, t reflect.Type) error {
	r := readability{seen: make(map[visit]bool)}
	if problem := r.whole(t); problem != nil {
		return typeError("%s type %v: %w", role, t, problem)
	}
	return nil
}

var resultProblems sync.Map // reflect.Type -> error, or noProblem

var noProblem = struct{ error }{}

// CheckResult reports that results of type t could be written and not read back, as a [*TypeError].
func CheckResult(t reflect.Type) error {
	known, ok := resultProblems.Load(t)
	if !ok {
		if known = checkReadable("result", t); known == nil {
			known = noProblem
		}
		resultProblems.Store(t, known)
	}
	if known == noProblem {
		return nil
	}
	return known.(error)
}

// CheckNote reports that values of type t, which a handler leaves beside its task, could be written and not read back, as a
// [*TypeError].
func CheckNote(t reflect.Type) error { return checkReadable("value", t) }

// readability walks the types that a type is made of.
type readability struct {
	seen map[visit]bool // types that are being walked or were found good
	path []string
}

// visit is a type, and whether it is a part of one that a method reads as a whole.
type visit struct {
	typ  reflect.Type
	read bool
}

// whole is about a type and its parts, which a method may write or read.
func (r *readability) whole(t reflect.Type) error {
	writes, reads := ownForms(t)
	switch {
	case t == typeRaw:
		return nil
	case writes != "" && reads:
		return nil
	case writes != "":
		want := "UnmarshalJSON"
		if writes == "MarshalText" {
			want = "UnmarshalText"
		}
		return r.problem(t, "which has "+writes+" but nothing to read it by", "give it "+want+", or use another type")
	}
	return r.parts(t, reads)
}

// parts is about a type that no method writes. One that a method reads may have parts that only that method can read.
func (r *readability) parts(t reflect.Type, read bool) error {
	v := visit{t, read}
	if r.seen[v] {
		return nil
	}
	r.seen[v] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return r.problem(t, "which has no form in JSON", "leave it out with the tag json:\"-\", or use another type")
	case reflect.Interface:
		if t.NumMethod() > 0 && !read {
			return r.problem(t, "an interface with methods, which can be written but not read back", wantInstead(t))
		}
	case reflect.Pointer:
		return r.part("", t.Elem(), read)
	case reflect.Slice, reflect.Array:
		return r.part("[]", t.Elem(), read)
	case reflect.Map:
		if !validMapKey(t.Key()) {
			return r.problem(t, fmt.Sprintf("whose keys of type %v cannot be written and read", t.Key()), "use keys that are strings or whole numbers")
		}
		return r.part("[]", t.Elem(), read)
	case reflect.Struct:
		return r.fields(t, read)
	}
	return nil
}

// part is about a part of a type: one that is read by a method of the whole is only written.
func (r *readability) part(place string, t reflect.Type, read bool) error {
	r.path = append(r.path, place)
	var err error
	if read {
		if writes, _ := ownForms(t); writes == "" {
			err = r.parts(t, true)
		}
	} else {
		err = r.whole(t)
	}
	if err == nil {
		r.path = r.path[:len(r.path)-1]
	}
	return err
}

func (r *readability) fields(t reflect.Type, read bool) error {
	exported, embedded, hidden := 0, 0, 0
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		elem := f.Type
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		switch {
		case tag == "-":
			exported++ // that nothing of it is written is said in so many words
			continue
		case f.Anonymous && elem.Kind() == reflect.Struct:
			embedded++
			if !f.IsExported() && f.Type.Kind() == reflect.Pointer && hasExported(elem) && !read {
				r.path = append(r.path, "."+f.Name)
				return r.problem(f.Type, "an embedded pointer to an unexported type, which cannot be read back", "embed the struct")
			}
		case !f.IsExported():
			hidden++
			continue
		default:
			exported++
		}
		if f.Anonymous && elem.Kind() == reflect.Struct && !hasOwnForm(f.Type) {
			// Its fields are those of t.
			if err := r.embedded(f, elem, read); err != nil {
				return err
			}
			continue
		}
		if err := r.part("."+f.Name, f.Type, read); err != nil {
			return err
		}
	}
	if hidden > 0 && exported == 0 && embedded == 0 && !read {
		return r.problem(t, "a struct of unexported fields alone, of which nothing is written", "export them, or give it MarshalJSON and UnmarshalJSON")
	}
	return nil
}

// embedded is about the fields of an embedded struct, which may have none that is exported.
func (r *readability) embedded(f reflect.StructField, t reflect.Type, read bool) error {
	if !hasExported(t) {
		return nil
	}
	return r.part("."+f.Name, t, read)
}

func hasExported(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() || f.Anonymous {
			return true
		}
	}
	return false
}

// problem says what is wrong with the type at the path.
func (r *readability) problem(t reflect.Type, what, want string) error {
	path := strings.TrimPrefix(strings.Join(r.path, ""), ".")
	if path == "" {
		return fmt.Errorf("it is of type %v, %s: %s", t, what, want)
	}
	return fmt.Errorf("%s is of type %v, %s: %s", path, t, what, want)
}

func wantInstead(t reflect.Type) string {
	if t == reflect.TypeFor[error]() {
		return "use a string"
	}
	return "use a type without methods to choose from, or any"
}

// ownForms tells which method writes a value of type t, if one does, and whether one reads it.
func ownForms(t reflect.Type) (writes string, reads bool) {
	p := reflect.PointerTo(t)
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return "", false // what is in it decides
	}
	for _, name := range []string{"UnmarshalJSON", "UnmarshalJSONFrom", "UnmarshalText"} {
		_, ok := p.MethodByName(name)
		reads = reads || ok
	}
	for _, name := range []string{"MarshalJSON", "MarshalJSONTo", "MarshalText"} {
		if _, ok := p.MethodByName(name); ok {
			return name, reads
		}
	}
	return "", reads
}

// validMapKey reports whether the keys of a map are written, and read back.
func validMapKey(t reflect.Type) bool {
	writes := t.Implements(typeTextMarshaler)
	reads := reflect.PointerTo(t).Implements(typeTextUnmarshaler)
	switch t.Kind() {
	case reflect.String:
		return true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return writes == reads
	}
	return writes && reads
}
