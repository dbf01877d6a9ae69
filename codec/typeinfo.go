package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gojson "github.com/goccy/go-json"
)

// typeInfo is what is to be known of a type before a library is given a value of it.
type typeInfo struct {
	typ      reflect.Type
	id       uintptr // of typ
	err      error   // why no library may be given a value of this type
	custom   bool    // a method or a json.Number in it makes JSON text of its own
	dynamic  bool    // it has interfaces in it, so that its values have parts of types that are not known from it
	nullable bool    // null stands for a value of it
	depth    int     // the levels of arrays and objects of its values, apart from what interfaces hold; MaxDepth+1 if unbounded
	plan     *plan   // how it is coded without a library, or nil

	dynamicFields []dynamicField // of a struct, for encoding
}

// dynamicField is a field whose type is dynamic.
type dynamicField struct {
	index int
	name  string
}

// infoCache keeps a typeInfo for each type, those of the latest types where they are found faster.
type infoCache struct {
	latest [64]atomic.Pointer[typeInfo]
	all    sync.Map // reflect.Type: *typeInfo
}

var encodeInfos, decodeInfos infoCache

// load returns what is known of t, or nil.
func (c *infoCache) load(t reflect.Type) *typeInfo {
	id := idOf(t)
	slot := &c.latest[(id>>5^id>>11)%uintptr(len(c.latest))]
	if info := slot.Load(); info != nil && info.id == id {
		return info
	}
	if info, ok := c.all.Load(t); ok {
		slot.Store(info.(*typeInfo))
		return info.(*typeInfo)
	}
	return nil
}

func (c *infoCache) store(info *typeInfo) *typeInfo {
	info.id = idOf(info.typ)
	actual, _ := c.all.LoadOrStore(info.typ, info)
	return actual.(*typeInfo)
}

// idOf identifies a type: a reflect.Type is a pointer, and equal ones are of equal types.
func idOf(t reflect.Type) uintptr { return reflect.ValueOf(t).Pointer() }

// encodeInfo is for encoding values of type t.
func encodeInfo(t reflect.Type) *typeInfo {
	if info := encodeInfos.load(t); info != nil {
		return info
	}
	a := analysis{leaf: encodesItself}
	info := a.run(t)
	elem := t
	if t.Kind() == reflect.Pointer {
		elem = t.Elem()
	}
	info.plan = planFor(elem, info)
	if info.dynamic && t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if f := t.Field(i); isEncoded(f) && encodeInfo(f.Type).dynamic {
				info.dynamicFields = append(info.dynamicFields, dynamicField{i, f.Name})
			}
		}
	}
	return encodeInfos.store(info)
}

// decodeInfo is for decoding into a variable of type t.
func decodeInfo(t reflect.Type) *typeInfo {
	if info := decodeInfos.load(t); info != nil {
		return info
	}
	a := analysis{leaf: decodesItself}
	info := a.run(t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		info.nullable = true
	default:
		info.nullable = implements(reflect.PointerTo(t), unmarshalers)
	}
	info.plan = planFor(t, info)
	return decodeInfos.store(info)
}

var (
	marshalers     = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[gojson.MarshalerContext]()}
	unmarshalers   = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[gojson.UnmarshalerContext]()}
	textMarshalers = []reflect.Type{reflect.TypeFor[encoding.TextMarshaler]()}
	timeType       = reflect.TypeFor[time.Time]()
	numberType     = reflect.TypeFor[json.Number]()
	goNumberType   = reflect.TypeFor[gojson.Number]()
)

func implements(t reflect.Type, interfaces []reflect.Type) bool {
	return slices.ContainsFunc(interfaces, t.Implements)
}

// encodesItself reports whether the parts of a value of type t are not encoded because a method encodes the whole,
// and whether a method may write JSON text. A method with a pointer receiver is not called for every value.
func encodesItself(t reflect.Type) (leaf, custom bool) {
	if t == timeType {
		return true, false
	}
	if t.Kind() == reflect.Interface {
		return true, false
	}
	if implements(t, marshalers) || hasMarshalTo(t) || t == numberType || t == goNumberType {
		return true, true
	}
	p := reflect.PointerTo(t)
	return implements(t, textMarshalers), implements(p, marshalers) || hasMarshalTo(p)
}

// hasMarshalTo reports whether t may be a marshaler of encoding/json/v2.
func hasMarshalTo(t reflect.Type) bool {
	_, ok := t.MethodByName("MarshalJSONTo")
	return ok
}

// decodesItself is encodesItself for decoding, where methods with a pointer receiver are always called.
func decodesItself(t reflect.Type) (leaf, custom bool) {
	p := reflect.PointerTo(t)
	_, from := p.MethodByName("UnmarshalJSONFrom")
	leaf = from || implements(p, unmarshalers) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	return leaf || t.Kind() == reflect.Interface, leaf
}

// analysis walks the types that a type is made of.
type analysis struct {
	leaf  func(reflect.Type) (leaf, custom bool)
	info  typeInfo
	depth map[reflect.Type]int // of types that have been walked; -1 for those that are being walked
}

func (a *analysis) run(t reflect.Type) *typeInfo {
	a.info.typ = t
	a.depth = map[reflect.Type]int{}
	a.info.depth = a.walk(t)
	return &a.info
}

// walk returns how many levels of arrays and objects a value of type t has, at most MaxDepth+1.
func (a *analysis) walk(t reflect.Type) int {
	if depth, ok := a.depth[t]; ok {
		if depth < 0 {
			return MaxDepth + 1 // a type that contains itself
		}
		return depth
	}
	a.depth[t] = -1
	depth := min(a.walkParts(t), MaxDepth+1)
	a.depth[t] = depth
	return depth
}

func (a *analysis) walkParts(t reflect.Type) int {
	leaf, custom := a.leaf(t)
	a.info.custom = a.info.custom || custom
	switch {
	case t.Kind() == reflect.Interface:
		a.info.dynamic = true
		return 0
	case leaf:
		return 0
	}
	switch t.Kind() {
	case reflect.Pointer:
		return a.walk(t.Elem())
	case reflect.Slice, reflect.Array:
		return 1 + a.walk(t.Elem())
	case reflect.Map:
		return 1 + max(a.walk(t.Key()), a.walk(t.Elem()))
	case reflect.Struct:
		depth := 0
		for i := range t.NumField() {
			f := t.Field(i)
			if !isEncoded(f) {
				continue
			}
			if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Pointer && a.info.err == nil {
				a.info.err = fmt.Errorf("field %s of struct %s is a %s: a field that is a pointer to a pointer is not supported",
					f.Name, typeName(t), typeName(f.Type))
			}
			depth = max(depth, a.walk(f.Type))
		}
		return 1 + depth
	}
	return 0
}

// isEncoded reports whether a field may be a part of the JSON text: it is exported, or an embedded struct, whose
// fields may be.
func isEncoded(f reflect.StructField) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	if f.IsExported() {
		return true
	}
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Anonymous && t.Kind() == reflect.Struct
}
