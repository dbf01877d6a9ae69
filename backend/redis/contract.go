package redis

import "github.com/omniq-go/omniq"

// If it is undefined, this engine and omniq are of different releases: upgrade both to the same one.
const _ = omniq.EngineIsForContract2

var _ omniq.Backend = (*Backend)(nil)
