package memory

import "maps"

// Maps and slices keep the room that they once had. After a peak those with all tasks are made anew, when little is left in them: while
// that is done, for some milliseconds, the backend is locked.
const (
	roomy = 1024    // of what is smaller, the room is kept
	slack = 4       // times as much room as is used
	large = 1 << 16 // keys: a map with more of them is not made anew
)

// most is how much was in a map at the most.
type most int

// without removes a key, and returns the map, or a smaller one with the same in it.
func without[K comparable, V any](m map[K]V, key K, had *most) map[K]V {
	*had = max(*had, most(len(m)))
	delete(m, key)
	if *had <= roomy || len(m) > min(int(*had)/slack, large) {
		return m
	}
	*had = most(len(m))
	small := make(map[K]V, len(m))
	maps.Copy(small, m)
	return small
}

// shorter returns a slice without its last element, or a smaller one with the same in it.
func shorter[T any](all []T) []T {
	last := len(all) - 1
	clear(all[last:])
	if all = all[:last]; cap(all) > roomy && last < cap(all)/slack {
		return append(make([]T, 0, 2*last), all...)
	}
	return all
}
