package lock

import "github.com/shiplap-ipc/shiplap/internal/killtest"

func scenarios() []killtest.Scenario { return nil }
