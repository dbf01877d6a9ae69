package jsontext

// Object walks over the members of an object and checks each on the way.
type Object struct {
	Data     []byte
	at       int // behind what was read
	maxDepth int
	begun    bool
	spaced   bool // white space was seen
	member   Member
}

// Member is a key of an object and the place of its value.
type Member struct {
	Key        []byte // without quotes and escapes; a part of the data where it has no escape
	Start, End int    // the value is data[Start:End]
	Plain      bool   // the value is plain, see [Skip]
}

// NewObject begins at the object that starts at i. Where something else stands there, the error says so.
func NewObject(data []byte, i, maxDepth int) (Object, error) {
	if i >= len(data) {
		return Object{}, syntaxError(i, "the document is empty, want an object")
	}
	if data[i] != '{' {
		return Object{}, syntaxError(i, "found %s, want an object", Kind(data[i]))
	}
	return Object{Data: data, at: i, maxDepth: maxDepth}, nil
}

// Next reads the next member, which [Object.Member] then tells. It returns false at the end of the object.
func (o *Object) Next() (bool, error) { return o.NextOf("") }

// NextOf is Next, and faster if the member's key, in quotes and with its colon, is expect.
func (o *Object) NextOf(expect string) (bool, error) {
	data, i := o.Data, o.at
	if !o.begun {
		if o.maxDepth <= 0 {
			return false, syntaxError(i, "more arrays and objects inside each other than allowed")
		}
		o.begun = true
		i = o.space(i + 1)
		if i < len(data) && data[i] == '}' {
			o.at = i + 1
			return false, nil
		}
	} else {
		i = o.space(i)
		if i < len(data) && data[i] == '}' {
			o.at = i + 1
			return false, nil
		}
		if i >= len(data) || data[i] != ',' {
			return false, wantAt(data, i, "',' or '}'")
		}
		i = o.space(i + 1)
	}
	m := &o.member
	var err error
	if n := len(expect); n > 0 && len(data)-i > n && string(data[i:i+n]) == expect {
		m.Key = data[i+1 : i+n-2]
		i += n
	} else if i, err = o.key(i); err != nil {
		return false, err
	}
	m.Start = o.space(i)
	m.End, m.Plain, err = Skip(data, m.Start, o.maxDepth-1)
	if err != nil {
		return false, err
	}
	o.at = m.End
	return true, nil
}

// key reads the key at i and its colon, and returns the place behind them.
func (o *Object) key(i int) (int, error) {
	data := o.Data
	if i >= len(data) || data[i] != '"' {
		return i, wantAt(data, i, "a key in double quotes")
	}
	end, plain, err := skipString(data, i)
	if err != nil {
		return i, err
	}
	o.member.Key = data[i+1 : end-1]
	if !plain {
		o.member.Key = appendUnquoted(nil, data[i:end])
		o.spaced = true
	}
	i = o.space(end)
	if i >= len(data) || data[i] != ':' {
		return i, wantAt(data, i, "':'")
	}
	return i + 1, nil
}

// Member is what the last Next read. It is overwritten by the next one.
func (o *Object) Member() *Member { return &o.member }

// At is the place behind what was read: behind the object when Next has returned false.
func (o *Object) At() int { return o.at }

func (o *Object) space(i int) int {
	if i < len(o.Data) && o.Data[i] > ' ' {
		return i
	}
	j := SkipSpace(o.Data, i)
	o.spaced = o.spaced || j > i
	return j
}

func (o *Object) skip() (end int, plain bool, err error) {
	plain = true
	for {
		ok, err := o.Next()
		if err != nil {
			return o.at, false, err
		}
		if !ok {
			return o.at, plain && !o.spaced, nil
		}
		plain = plain && o.member.Plain
	}
}

// Array walks over the elements of an array and checks each on the way.
type Array struct {
	Data       []byte
	Start, End int  // the element that the last Next read is Data[Start:End]
	Plain      bool // it is plain, see [Skip]
	at         int
	maxDepth   int
	begun      bool
	spaced     bool
}

// NewArray begins at the array that starts at i. Where something else stands there, the error says so.
func NewArray(data []byte, i, maxDepth int) (Array, error) {
	if i >= len(data) {
		return Array{}, syntaxError(i, "the document is empty, want an array")
	}
	if data[i] != '[' {
		return Array{}, syntaxError(i, "found %s, want an array", Kind(data[i]))
	}
	return Array{Data: data, at: i, maxDepth: maxDepth}, nil
}

// Next reads the next element. It returns false at the end of the array.
func (a *Array) Next() (bool, error) {
	data, i := a.Data, a.at
	if !a.begun {
		if a.maxDepth <= 0 {
			return false, syntaxError(i, "more arrays and objects inside each other than allowed")
		}
		a.begun = true
		i = a.space(i + 1)
		if i < len(data) && data[i] == ']' {
			a.at = i + 1
			return false, nil
		}
	} else {
		i = a.space(i)
		if i < len(data) && data[i] == ']' {
			a.at = i + 1
			return false, nil
		}
		if i >= len(data) || data[i] != ',' {
			return false, wantAt(data, i, "',' or ']'")
		}
		i = a.space(i + 1)
	}
	a.Start = i
	end, plain, err := Skip(data, i, a.maxDepth-1)
	if err != nil {
		return false, err
	}
	a.End, a.Plain, a.at = end, plain, end
	return true, nil
}

// At is the place behind what was read: behind the array when Next has returned false.
func (a *Array) At() int { return a.at }

func (a *Array) space(i int) int {
	if i < len(a.Data) && a.Data[i] > ' ' {
		return i
	}
	j := SkipSpace(a.Data, i)
	a.spaced = a.spaced || j > i
	return j
}

func (a *Array) skip() (end int, plain bool, err error) {
	plain = true
	for {
		ok, err := a.Next()
		if err != nil {
			return a.at, false, err
		}
		if !ok {
			return a.at, plain && !a.spaced, nil
		}
		plain = plain && a.Plain
	}
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
