package redis_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/omniq-go/omniq/backend/crashtest"
)

func TestMain(m *testing.M) {
	crashtest.Child(openCrash)
	flag.Parse()
	if _, err := serverPath(); err != nil && os.Getenv(urlVariable) == "" { // tests skip themselves, which examples cannot
		skip := flag.Lookup("test.skip")
		_ = skip.Value.Set(strings.TrimPrefix(skip.Value.String()+"|^Example", "|"))
	}
	// Most of what tests do is to wait, for a server or for a time.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("8")
	}
	code := m.Run()
	if common.server != nil {
		_ = common.close()
	}
	os.Exit(code)
}
