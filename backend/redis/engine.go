package redis

import (
	"context"

	"github.com/omniq-go/omniq"
)

// Engine opens URLs that begin with "redis:" or "rediss:", or with "valkey:" or "valkeys:", as [Open] takes them.
var Engine = omniq.Engine{Schemes: []string{"redis", "rediss", "valkey", "valkeys"}, Open: openURL}

func openURL(ctx context.Context, url string, c omniq.Config) (omniq.Backend, error) {
	var opts []Option
	if c.Events > 0 {
		opts = append(opts, WithEvents(c.Events))
	}
	b, err := Open(ctx, url, opts...)
	if err != nil {
		return nil, err
	}
	return b, nil
}
