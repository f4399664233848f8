package store

import (
	"strings"
	"testing"
	"time"
)

// A value that no Get could read is refused, and what the key had stays.
func TestUnreadableValues(t *testing.T) {
	s := create(t, domain(t), nil)
	type job struct {
		Name string
		Due  time.Time
	}
	self := map[string]any{}
	self["self"] = self
	want := job{"a", time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)}
	if _, err := Set(t.Context(), s, "job", want); err != nil {
		t.Fatal(err)
	}
	_, err := Set(t.Context(), s, "job", job{"b", time.Unix(1<<62, 0)})
	if err == nil || !strings.Contains(err.Error(), "job.Due: year ") {
		t.Errorf("a year beyond 9999: %v", err)
	}
	if _, err := Set(t.Context(), s, "job", any(self)); err == nil || !strings.Contains(err.Error(), "contains itself") {
		t.Errorf("a cyclic value: %v", err)
	}
	if got, err := Get[job](s, "job"); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := Set[any](t.Context(), s, "numbers", map[int]string{1: "a"}); err != nil {
		t.Fatal(err)
	}
	got, err := Get[any](s, "numbers")
	if m, ok := got.(map[any]any); err != nil || !ok || m[int64(1)] != "a" {
		t.Errorf("%#v, %v", got, err)
	}
}
