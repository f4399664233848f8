//go:build !explore

package explore

import "testing"

func TestSchedules(t *testing.T) {
	t.Skip("schedules are explored in builds with the tag: go test -tags explore ./internal/explore")
}
