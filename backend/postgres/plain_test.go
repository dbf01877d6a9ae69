package postgres

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/assert"
)

// Statements of several transactions are made plain at once.
func TestPlainAtOnce(t *testing.T) {
	id := uuid.New()
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			<-start
			s, err := plain(stmt{sql: "SELECT 1 WHERE x = ANY($1::uuid[]) AND y = ANY($2::bigint[])", args: []any{
				list[pgtype.UUID]{uuidOf(id)}, list[int64]{7},
			}})
			assert.NoError(t, err)
			assert.Equal(t, []any{"{" + id.String() + "}", "{7}"}, s.args)
			assert.Equal(t, "SELECT 1 WHERE x = ANY(($1::text)::uuid[]) AND y = ANY(($2::text)::bigint[])", s.sql)
		})
	}
	close(start)
	all.Wait()
}
