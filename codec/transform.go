package codec

import "sync"

// scratch is a buffer that is reused.
type scratch struct{ b []byte }

// maxScratch is the capacity of the largest buffer that is kept for reuse.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func takeScratch() *scratch { return scratches.Get().(*scratch) }

// release clears what is in the buffer: it may be a secret.
func (s *scratch) release() {
	if cap(s.b) > maxScratch {
		return
	}
	clear(s.b)
	s.b = s.b[:0]
	scratches.Put(s)
}

// appendSealed is Append for a Transform.
func appendSealed(t Transform, dst []byte, v any) ([]byte, error) {
	s := takeScratch()
	defer s.release()
	var err error
	if s.b, err = Append(t.Inner(), s.b[:0], v); err != nil {
		return dst, err
	}
	return t.Seal(dst, s.b)
}

// unmarshalSealed is Unmarshal for a Transform.
func unmarshalSealed(t Transform, data []byte, v any) error {
	plain, err := t.Open(data)
	if err != nil {
		return err
	}
	return t.Inner().Unmarshal(plain, v)
}
