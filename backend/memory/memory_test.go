package memory_test

import (
	"testing"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/memory"
)

func TestConformance(t *testing.T) {
	backendtest.Run(t, func(*testing.T) omniq.Backend { return memory.New() })
}
