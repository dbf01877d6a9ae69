package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Beat notes that a worker is there: see [omniq.Monitor].
func (b *Backend) Beat(ctx context.Context, w omniq.WorkerInfo) error {
	if err := engine.CheckBeat(&w); err != nil {
		return err
	}
	info, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return b.end(ctx, &op{light: true, do: func(t *tx) error {
		until := t.us + microseconds(w.Lease)
		if w.Lease == 0 {
			_, err := t.q.exec("DELETE FROM omniq_workers WHERE id = ?", w.ID)
			return err
		}
		_, err := t.q.exec("INSERT OR REPLACE INTO omniq_workers (id, seen, until, info) VALUES (?, ?, ?, ?)", w.ID, t.us, until, string(info))
		return err
	}})
}

// Workers returns the workers that are there: see [omniq.Monitor].
func (b *Backend) Workers(ctx context.Context) (workers []omniq.WorkerInfo, err error) {
	err = b.read(ctx, func(c *conn) error {
		const q = "SELECT id, seen, info FROM omniq_workers WHERE until > ? ORDER BY id"
		return c.query(q, func(v []driver.Value) error {
			workers = append(workers, engine.Worker(text(v[0]), moment(v[1]), text(v[2])))
			return nil
		}, b.config.clock().UnixMicro())
	})
	return workers, err
}
