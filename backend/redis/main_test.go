package redis_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/omniq-go/omniq/backend/crashtest"
	"github.com/omniq-go/omniq/internal/redisserver"
)

func TestMain(m *testing.M) {
	crashtest.Child(openCrash)
	flag.Parse()
	if _, err := redisserver.Path(); err != nil && os.Getenv(redisserver.URLVariable) == "" { // tests skip themselves, which examples cannot
		skip := flag.Lookup("test.skip")
		_ = skip.Value.Set(strings.TrimPrefix(skip.Value.String()+"|^Example", "|"))
	}
	// Most of what tests do is to wait, for a server or for a time.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("8")
	}
	code := m.Run()
	if common.Server != nil {
		_ = common.Close()
	}
	os.Exit(code)
}
