package postgres

import (
	"context"
)

// Why the server refuses a text: it has characters that the database's encoding lacks.
const (
	untranslatable = "22P05"
	invalidBytes   = "22021"
)

// refusal reports whether err is such a one.
func refusal(err error) bool {
	c := code(err)
	return c == untranslatable || c == invalidBytes
}

// storable has no effect but that of its parameter: the server has to take it in its encoding.
const storable = "SELECT FROM unnest($1::text[]) WHERE false"

// refused finds out which of the texts the database cannot store, and why, by their places.
func (b *Backend) refused(ctx context.Context, texts []string) (map[int]error, error) {
	refused := make(map[int]error)
	var look func(from, to int) error
	look = func(from, to int) error {
		err := b.read(vital(ctx), stmt{sql: storable, args: []any{list[string](texts[from:to])}})
		switch {
		case !refusal(err):
			return err
		case to-from == 1:
			refused[from] = err
			return nil
		}
		middle := (from + to) / 2
		if err := look(from, middle); err != nil {
			return err
		}
		return look(middle, to)
	}
	if len(texts) == 0 {
		return nil, nil
	}
	return refused, look(0, len(texts))
}
