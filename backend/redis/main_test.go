package redis_test

import (
	"os"
	"testing"

	"github.com/omniq-go/omniq/backend/crashtest"
)

func TestMain(m *testing.M) {
	crashtest.Child(openCrash)
	code := m.Run()
	if common.server != nil {
		_ = common.close()
	}
	os.Exit(code)
}
