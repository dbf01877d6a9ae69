package codectest

import (
	"bytes"

	"github.com/omniq-go/omniq/codec"
)

// plains are what a Transform is given.
func plains() [][]byte {
	return [][]byte{{}, []byte("a"), []byte(`{"a":[1,2,3]}`), bytes.Repeat([]byte("abc"), 10_000), allBytes()}
}

func checkTransform(k *checker) {
	t := k.c.(codec.Transform)
	inner := t.Inner()
	if inner == nil {
		k.fail("Inner returns nil")
		return
	}
	if inner.Name() == k.name() {
		k.fail("it has the name of its inner codec, %q: readers could not tell them apart", inner.Name())
	}
	for _, plain := range plains() {
		given := bytes.Clone(plain)
		sealed, ok := k.seal(t, []byte("prefix"), given)
		if !ok {
			return
		}
		if !bytes.Equal(given, plain) {
			k.fail("Seal changes plain")
			return
		}
		for i := range given {
			given[i] = '!'
		}
		sealed, hasPrefix := bytes.CutPrefix(sealed, []byte("prefix"))
		if !hasPrefix {
			k.fail("Seal does not append to dst: it returns %.60q", sealed)
			return
		}
		kept := bytes.Clone(sealed)
		opened, ok := k.open(t, sealed)
		if !ok {
			return
		}
		if !bytes.Equal(sealed, kept) {
			k.fail("Open changes what it is given")
			return
		}
		for i := range sealed {
			sealed[i] = '?'
		}
		if !bytes.Equal(opened, plain) {
			k.fail("Open of what Seal gives for %.60q returns %.60q", plain, opened)
			return
		}
	}
	for _, e := range k.encodeAll() {
		plain, ok := k.open(t, e.data)
		if !ok {
			return
		}
		got := target(e.make())
		if err := inner.Unmarshal(plain, got); err != nil {
			k.fail("%s: the inner codec cannot decode what Open gives of what Marshal returns: %v", e.name, err)
			return
		}
		k.want(e.make(), content(got), e.name+" by Marshal, Open and the inner Unmarshal")

		plain, err := inner.Marshal(e.make())
		if err != nil {
			k.fail("%s: the inner Marshal: %v", e.name, err)
			return
		}
		sealed, ok := k.seal(t, nil, plain)
		if !ok {
			return
		}
		got = target(e.make())
		if k.unmarshal(sealed, got) {
			k.want(e.make(), content(got), e.name+" by the inner Marshal, Seal and Unmarshal")
		}
	}
}

func checkOpen(k *checker) {
	t := k.c.(codec.Transform)
	for _, plain := range [][]byte{{}, []byte(`{"a":[1,2,3]}`), allBytes()} {
		sealed, ok := k.seal(t, nil, plain)
		if !ok {
			return
		}
		for n := range sealed {
			if !k.refuses(t, sealed[:n:n], "which is cut") {
				return
			}
		}
		for _, tail := range [][]byte{{0}, {'x'}, sealed} {
			if !k.refuses(t, append(bytes.Clone(sealed), tail...), "which has bytes behind it") {
				return
			}
		}
		damaged := bytes.Clone(sealed)
		for i := range damaged {
			for _, mask := range []byte{0x01, 0x10, 0x80, 0xff} {
				damaged[i] ^= mask
				if !k.guard("Open of damaged bytes", func() { _, _ = t.Open(damaged) }) {
					return
				}
				damaged[i] ^= mask
			}
		}
	}
}

func (k *checker) seal(t codec.Transform, dst, plain []byte) (sealed []byte, ok bool) {
	var err error
	ok = k.guard("Seal", func() { sealed, err = t.Seal(dst, plain) })
	if ok && err != nil {
		k.fail("Seal of %.60q: %v", plain, err)
	}
	return sealed, ok && err == nil
}

func (k *checker) open(t codec.Transform, sealed []byte) (plain []byte, ok bool) {
	var err error
	ok = k.guard("Open", func() { plain, err = t.Open(sealed) })
	if ok && err != nil {
		k.fail("Open of %.60q: %v", sealed, err)
	}
	return plain, ok && err == nil
}

// refuses reports whether Open returns an error. Otherwise the rule is broken.
func (k *checker) refuses(t codec.Transform, sealed []byte, how string) (ok bool) {
	var err error
	if !k.guard("Open", func() { _, err = t.Open(sealed) }) {
		return false
	}
	if err == nil {
		k.fail("Open accepts %.60q, %s", sealed, how)
	}
	return err != nil
}
