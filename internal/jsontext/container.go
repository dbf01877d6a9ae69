package jsontext

// Object walks over the members of an object and checks each on the way.
type Object struct {
	walk
	Key        []byte // without quotes and escapes; a part of the data where it has no escape
	Expected   bool   // the key is what NextKey was given
	Start, End int    // the value is data[Start:End]; End only when it was skipped
	Plain      bool   // the value is plain, see [Skip]
}

// walk is the way through an array or an object.
type walk struct {
	scanner
	at       int // behind what was read
	maxDepth int
	begun    bool
}

// step goes to what follows in the array or the object.
func (w *walk) step(closing byte) (more bool, err error) {
	if w.begun {
		w.at, more, err = w.next(w.at, closing)
	} else {
		w.begun = true
		w.at, more, err = w.open(w.at, closing, w.maxDepth)
	}
	return more, err
}

// At is the place behind what was read: behind the whole when Next has returned false.
func (w *walk) At() int { return w.at }

// NewObject begins at the object that starts at i. Where something else stands there, the error says so.
func NewObject(data []byte, i, maxDepth int) (Object, error) {
	if i >= len(data) {
		return Object{}, syntaxError(i, "the document is empty, want an object")
	}
	if data[i] != '{' {
		return Object{}, syntaxError(i, "found %s, want an object", Kind(data[i]))
	}
	return Object{walk: walk{scanner: scanner{data: data}, at: i, maxDepth: maxDepth}}, nil
}

// Next reads the next member. It returns false at the end of the object.
func (o *Object) Next() (bool, error) {
	more, err := o.NextKey("")
	if more {
		err = o.SkipValue()
	}
	return more && err == nil, err
}

// NextKey is Next without the value, for which SkipValue or Jump must be called. It is faster if the key, in quotes and
// with its colon, is expect.
func (o *Object) NextKey(expect string) (bool, error) {
	i := o.at + 1
	if !o.begun || i >= len(o.data) || o.data[i] <= ' ' || o.data[i-1] != ',' {
		more, err := o.step('}')
		if !more || err != nil {
			return false, err
		}
		i = o.at
	}
	if n := len(expect); n > 0 && len(o.data)-i > n && string(o.data[i:i+n]) == expect {
		o.Key, o.Expected = o.data[i+1:i+n-2], true
		o.Start = o.space(i + n)
		return true, nil
	}
	if i >= len(o.data) || o.data[i] != '"' {
		return false, wantAt(o.data, i, "a key in double quotes")
	}
	o.plain = true
	end, err := o.string(i)
	if err != nil {
		return false, err
	}
	o.Key, o.Expected = o.data[i+1:end-1], false
	if !o.plain {
		o.Key = appendUnquoted(nil, o.data[i:end])
	}
	o.Start, err = o.colon(end)
	return err == nil, err
}

// Follows goes to the value of the next member if that begins with expect, a key in quotes and with its colon, in compact form. It is
// for a second member or a later one. Otherwise nothing has happened.
func (o *Object) Follows(expect string) bool {
	from := o.at + 1
	end := from + len(expect)
	if end >= len(o.data) || o.data[o.at] != ',' || string(o.data[from:end]) != expect || o.data[end] <= ' ' {
		return false
	}
	o.Key, o.Start = o.data[from+1:end-2], end
	return true
}

// SkipValue checks the value of the key that was read, and goes behind it.
func (o *Object) SkipValue() (err error) {
	o.End, o.Plain, err = Skip(o.data, o.Start, o.maxDepth-1)
	o.at = o.End
	return err
}

// Jump goes behind the value of the key that was read, which ends at end and has been checked.
func (o *Object) Jump(end int) { o.at = end }

// Array walks over the elements of an array and checks each on the way.
type Array struct {
	walk
	Start, End int // the element that the last Next read is data[Start:End]
}

// NewArray begins at the array that starts at i. Where something else stands there, the error says so.
func NewArray(data []byte, i, maxDepth int) (Array, error) {
	if i >= len(data) {
		return Array{}, syntaxError(i, "the document is empty, want an array")
	}
	if data[i] != '[' {
		return Array{}, syntaxError(i, "found %s, want an array", Kind(data[i]))
	}
	return Array{walk: walk{scanner: scanner{data: data}, at: i, maxDepth: maxDepth}}, nil
}

// Next reads the next element. It returns false at the end of the array.
func (a *Array) Next() (bool, error) {
	more, err := a.step(']')
	if !more || err != nil {
		return false, err
	}
	a.Start = a.at
	a.End, _, err = Skip(a.data, a.at, a.maxDepth-1)
	a.at = a.End
	return err == nil, err
}

func wantAt(data []byte, i int, want string) error {
	if i >= len(data) {
		return syntaxError(i, "the document ends, want %s", want)
	}
	return syntaxError(i, "found %s, want %s", quoteByte(data[i]), want)
}

// Kind names the kind of value that begins with c.
func Kind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return "a number"
	}
	return quoteByte(c)
}
