package memory_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/memory"
)

// Nearly all that these tests do is to wait for a time.
func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("8")
	}
	os.Exit(m.Run())
}

var much = flag.Int("much", 1, "how many times larger the rules about large and random flows are")

func TestConformance(t *testing.T) {
	backendtest.Run(t, func(*testing.T) omniq.Backend { return memory.New() },
		backendtest.Events(func(_ *testing.T, retention time.Duration) omniq.Backend {
			return memory.New(memory.WithEvents(retention))
		}),
		backendtest.Much(*much),
		backendtest.Skewed(func(_ *testing.T, by time.Duration) omniq.Backend { return memory.New(memory.Skewed(by)) }),
		backendtest.Transactions(transactions()))
}

// What is true without events is true with them.
func TestConformanceWithEvents(t *testing.T) {
	backendtest.Run(t, func(*testing.T) omniq.Backend { return memory.New(memory.WithEvents(time.Hour)) },
		backendtest.Transactions(transactions(memory.WithEvents(time.Hour))), backendtest.Quick())
}

// transactions opens backends with a way to begin transactions.
func transactions(opts ...memory.Option) func(*testing.T) (omniq.Backend, func() backendtest.Tx) {
	return func(*testing.T) (omniq.Backend, func() backendtest.Tx) {
		b := memory.New(opts...)
		return b, func() backendtest.Tx {
			tx := b.Begin()
			return backendtest.Tx{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
		}
	}
}
