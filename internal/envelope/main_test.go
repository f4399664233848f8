package envelope

import (
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
