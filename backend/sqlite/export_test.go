package sqlite

// Awaits reports whether somebody waits for a result.
func (b *Backend) Awaits() bool { return b.awaited.Any() }
