package codectest

import (
	"bytes"
	"errors"
	"reflect"
	"sync"

	"github.com/omniq-go/omniq/codec"
)

func checkName(k *checker) {
	name := k.name()
	if err := codec.CheckName(name); err != nil {
		k.fail("%v", err)
	}
	for range 3 {
		if again := k.name(); again != name {
			k.fail("Name returns %q and then %q", name, again)
			return
		}
	}
}

func checkRoundTrip(k *checker) {
	for _, e := range k.encodeAll() {
		v := e.make()
		got := target(v)
		if k.unmarshal(e.data, got) {
			k.want(v, content(got), e.name)
		}
		p := target(v)
		reflect.ValueOf(p).Elem().Set(reflect.ValueOf(v))
		data, ok := k.marshal(p)
		if !ok {
			continue
		}
		got = target(v)
		if k.unmarshal(data, got) {
			k.want(v, content(got), e.name+" by a pointer")
		}
	}
}

func checkMarshalKeepsValue(k *checker) {
	if k.options.values != nil {
		return // there is only one of each
	}
	for _, value := range k.values() {
		v := value.make()
		if _, ok, _ := k.tryMarshal(v); ok && !reflect.DeepEqual(v, value.make()) {
			k.fail("%s: it is %s after Marshal, was %s", value.name, show(v), show(value.make()))
		}
	}
}

func checkMarshalGivesAway(k *checker) {
	all := k.encodeAll()
	for i, e := range all {
		first := bytes.Clone(e.data)
		for _, other := range all[:min(len(all), 5)] {
			k.marshal(other.make())
		}
		if !bytes.Equal(e.data, first) {
			k.fail("%s: what Marshal returned changes with later calls", e.name)
			return
		}
		for j := range e.data {
			e.data[j] = '!'
		}
		if data, ok := k.marshal(e.make()); ok {
			got := target(e.make())
			if !k.unmarshal(data, got) || !k.want(e.make(), content(got), e.name+" after what Marshal had returned was overwritten") {
				return
			}
		}
		all[i].data = first
	}
}

func checkUnmarshalKeepsData(k *checker) {
	for _, e := range k.encodeAll() {
		data := bytes.Clone(e.data)
		if k.unmarshal(data, target(e.make())) && !bytes.Equal(data, e.data) {
			k.fail("%s: the data is %.60q after Unmarshal, was %.60q", e.name, data, e.data)
		}
	}
}

func checkUnmarshalLetsGo(k *checker) {
	for _, e := range k.encodeAll() {
		data := bytes.Clone(e.data)
		got := target(e.make())
		if !k.unmarshal(data, got) {
			continue
		}
		for i := range data {
			data[i] = '?'
		}
		k.want(e.make(), content(got), e.name+" after the data was overwritten")
	}
}

func checkOverwrites(k *checker) {
	all := k.encodeAll()
	for _, e := range all {
		for _, old := range all {
			if reflect.TypeOf(old.make()) != reflect.TypeOf(e.make()) {
				continue
			}
			got := target(e.make())
			if !k.unmarshal(old.data, got) || !k.unmarshal(e.data, got) {
				continue
			}
			k.want(e.make(), content(got), e.name+" over "+old.name)
		}
	}
	if k.options.values != nil {
		return
	}
	overwrite(k, "a shorter slice", []address{{}, {Street: "new"}}, []address{{"old", 1}, {"old", 2}, {"old", 3}})
	overwrite(k, "a map with other keys", map[string]int{"new": 1}, map[string]int{"old": 2})
	overwrite(k, "a struct without pointers", links{}, newLinks())
	overwrite(k, "a zero struct", settings{}, settings{"old", 1, 1, true})
	overwrite(k, "a nested map", person{Count: map[string]int{"new": 1}, Tags: []string{"n"}, Others: []address{{"s", 1}}}, newPerson())
	if isJSON(k) {
		got := newPerson().(person)
		if k.unmarshal([]byte(`{}`), &got) {
			k.want(person{}, got, "an empty object over a struct")
		}
		old := []byte("old")
		if k.unmarshal([]byte(`null`), &old) {
			k.want([]byte(nil), old, "null over bytes")
		}
	}
}

func overwrite[T any](k *checker, name string, v T, old any) {
	data, ok := k.marshal(v)
	if !ok {
		return
	}
	var fresh T
	if !k.unmarshal(data, &fresh) {
		return
	}
	got := old.(T)
	if k.unmarshal(data, &got) {
		k.want(fresh, got, name+" over an old value")
	}
}

func checkConcurrency(k *checker) {
	all := k.encodeAll()
	var mu sync.Mutex
	fail := k.fail
	k.fail = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fail(format, args...)
	}
	defer func() { k.fail = fail }()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range all {
				e := all[(i+g*5)%len(all)]
				data, ok := k.marshal(e.make())
				if !ok {
					return
				}
				got := target(e.make())
				if !k.unmarshal(data, got) || !k.want(e.make(), content(got), e.name+" beside others") {
					return
				}
			}
		})
	}
	wg.Wait()
}

// documents are encoded values of which no beginning is a document itself, whatever the format may be.
func (k *checker) documents() []encoded {
	var documents []encoded
	for _, e := range k.encodeAll() {
		switch reflect.ValueOf(e.make()).Kind() {
		case reflect.String, reflect.Slice, reflect.Map, reflect.Struct, reflect.Array:
			if len(e.data) <= 4096 {
				documents = append(documents, e)
			}
		}
	}
	return documents
}

func checkWholeDocument(k *checker) {
	refuse := func(e encoded, data []byte, how string) bool {
		ok, err := k.tryUnmarshal(data, target(e.make()))
		if ok && err == nil {
			k.fail("%s: Unmarshal accepts %.60q, %s", e.name, data, how)
		}
		return ok && err != nil
	}
	for _, e := range k.documents() {
		for n := range e.data {
			if !refuse(e, e.data[:n:n], "which is cut") {
				break
			}
		}
		for _, tail := range [][]byte{{0}, {'x'}, {0xff}, e.data} {
			refuse(e, append(bytes.Clone(e.data), tail...), "which has bytes behind it")
		}
	}
}

func checkDamage(k *checker) {
	for _, e := range k.encodeAll() {
		if len(e.data) > 4096 {
			continue
		}
		data := bytes.Clone(e.data)
		for i := range data[:min(len(data), 100)] {
			for _, mask := range []byte{0x01, 0x80, 0xff} {
				data[i] ^= mask
				ok, _ := k.tryUnmarshal(data, target(e.make()))
				data[i] ^= mask
				if !ok {
					return
				}
			}
		}
	}
	for _, data := range [][]byte{nil, {}, {0}, {0xff}, bytes.Repeat([]byte{0xff}, 100), bytes.Repeat([]byte("["), 10_000)} {
		for _, v := range k.values() {
			if ok, _ := k.tryUnmarshal(data, target(v.make())); !ok {
				return
			}
		}
	}
}

func checkUnsupported(k *checker) {
	for _, v := range []any{make(chan int), func() {}, complex(1, 2)} {
		if reflect.TypeOf(v).Kind() == reflect.Complex128 && !isJSON(k) {
			continue // some formats have complex numbers
		}
		data, ok, err := k.tryMarshal(v)
		switch {
		case !ok:
		case err == nil:
			k.fail("Marshal of a %T returns %.60q and no error", v, data)
		case !errors.Is(err, codec.ErrUnsupported):
			k.fail("Marshal of a %T: errors.Is does not find ErrUnsupported in %q", v, err)
		}
		if a, isAppender := k.c.(codec.Appender); isAppender {
			prefix := []byte("prefix")
			ok := k.guard("Append", func() { data, err = a.Append(prefix, v) })
			if ok && (err == nil || string(data) != "prefix") {
				k.fail("Append of a %T returns %.60q and the error %v, want dst at its old length and an error", v, data, err)
			}
		}
	}
}

func checkTargets(k *checker) {
	for _, e := range k.encodeAll() {
		for _, v := range []any{nil, e.make(), reflect.Zero(reflect.PointerTo(reflect.TypeOf(e.make()))).Interface()} {
			if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && !rv.IsNil() {
				continue // a value that is a pointer itself
			}
			if ok, err := k.tryUnmarshal(e.data, v); ok && err == nil {
				k.fail("%s: Unmarshal into %s returns no error", e.name, show(v))
			}
		}
	}
}

func checkAppend(k *checker) {
	a := k.c.(codec.Appender)
	for _, e := range k.encodeAll() {
		for _, spare := range []int{0, 3, 2 * len(e.data)} {
			dst := append(make([]byte, 0, 6+spare), "prefix"...)
			var out []byte
			var err error
			if !k.guard("Append", func() { out, err = a.Append(dst, e.make()) }) {
				return
			}
			data, hasPrefix := bytes.CutPrefix(out, []byte("prefix"))
			switch {
			case err != nil:
				k.fail("%s: %v", e.name, err)
				return
			case !hasPrefix:
				k.fail("%s: Append to %q returns %.60q", e.name, "prefix", out)
				return
			case isJSON(k) && !bytes.Equal(data, e.data):
				k.fail("%s: Append gives %.60q, Marshal %.60q", e.name, data, e.data)
				return
			}
			got := target(e.make())
			if !k.unmarshal(data, got) || !k.want(e.make(), content(got), e.name+" by Append") {
				return
			}
		}
	}
}
